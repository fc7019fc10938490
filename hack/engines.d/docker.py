"""docker: its daemon as it comes, with userns-remap, and without root."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager

import host
from case import Skip
from command import Command

# A runtime whose containers have the time namespace that docker 29.5 and newer ask for.
TIMED = """#!/bin/sh
for word; do
  [ "$before" != --bundle ] || sed -i 's/"namespaces":\\[/&{{"type":"time"}},/' "$word/config.json"
  before=$word
done
exec {runtime} "$@"
"""
SETTINGS = "/etc/docker/daemon.json"
ROOTLESS = "/usr/share/docker.io/contrib/dockerd-rootless.sh"
REMAPPED = "dockremap"
START_SECONDS = 150


class Docker(Command):
    """docker's client, with podman's words for what both have."""

    program = "docker"
    # Its daemon calls every exec that did not start 126.
    refusal, runtime_refusal, missing_in_exec = 1, 125, 126
    patience_seconds = 120

    def __init__(self, place, mode, socket, verbose=False):
        super().__init__(place.work, verbose)
        self.room, self.mode = place, mode
        self.uid = os.getuid()
        self.root = self.uid == 0
        self.confinement = ""
        self.socket = socket

    def argv(self, line):
        words, _ = super().argv(line)
        if words[:2] == ["rm", "-f"] and words[2:3] == ["-t"]:
            del words[2:4]
        if words[0] in ("run", "create") and not any(re.match("--net(work)?(=|$)", word) for word in words):
            words.insert(1, "--network=none")
        if self.mode == "remap" and words[0] in ("run", "create") and "--privileged" in words:
            words.insert(1, "--userns=host")  # which docker demands then
        return words, [self.program, *self.options, *words]

    def environment(self, extra=None):
        return {**os.environ, "TERM": "xterm", "DOCKER_HOST": f"unix://{self.socket}", **(extra or {})}

    def host_id(self, inside):
        """What an id inside is on the host."""
        if self.mode == "remap":
            line = next(line for line in open("/etc/subuid") if line.startswith(REMAPPED + ":"))
            return int(line.split(":")[1]) + inside
        if self.mode == "rootless":
            line = next(line for line in open("/etc/subuid") if line.startswith(f"{os.environ['USER']}:"))
            return self.uid if inside == 0 else int(line.split(":")[1]) + inside - 1
        return inside

    def folder(self, name, owner=None, mode=0o755):
        self.count += 1
        path = f"{self.room.work}/{name}{self.count}.{self.room.name}.{self.mode}"
        os.makedirs(path, mode)
        os.chmod(path, mode)
        if owner or self.mode == "remap":
            os.chown(path, *(owner or (self.host_id(0), self.host_id(0))))
        return path

    def import_image(self):
        changes = ["--change", "ENV FROM_IMAGE=yes", "--change", "ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        changes += ["--change", 'CMD ["/bin/pause"]']
        self.out(["import", *changes, self.room.image, "box:latest"])

    def wait_until_up(self, log):
        end = time.monotonic() + START_SECONDS
        while self("version").status != 0:
            assert time.monotonic() < end, f"docker's daemon does not answer\n{log()}"
            time.sleep(0.3)
        runtime = self.out("info -f '{{.DefaultRuntime}}'")
        assert runtime == self.room.name, f"the default runtime is {runtime}\n{log()}"


def settings(place, mode, manager):
    """daemon.json as docs/engines.md has it."""
    runtimes = {name: {"path": path} for name in ("rt", "crun") if (path := shutil.which(name))}
    timed = f"{place.work}/timed.{place.name}.{mode}"
    with open(timed, "w") as file:
        file.write(TIMED.format(runtime=place.runtime))
    os.chmod(timed, 0o755)
    runtimes["timed"] = {"path": timed}
    made = {
        "default-runtime": place.name, "runtimes": runtimes, "experimental": True,
        "exec-opts": [f"native.cgroupdriver={manager}"],
    }  # fmt: skip
    if mode == "remap":
        made["userns-remap"] = "default"
    if host.user_mode_linux():
        made |= {"iptables": False, "ip6tables": False, "bridge": "none", "storage-driver": "vfs"}
    return made


@contextmanager
def by_systemd(docker, manager):
    """Root's daemon is the host's own service, with other settings."""
    shutil.copy(SETTINGS, f"{SETTINGS}.kept")
    with open(SETTINGS, "w") as file:
        json.dump(settings(docker.room, docker.mode, manager), file)
    try:
        subprocess.run(["systemctl", "reset-failed", "docker"], stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["systemctl", "restart", "docker"], check=False)
        docker.wait_until_up(lambda: journal("docker"))
        yield docker
    finally:
        subprocess.run(["systemctl", "stop", "docker", "docker.socket"], stderr=subprocess.DEVNULL, check=False)
        os.replace(f"{SETTINGS}.kept", SETTINGS)


def journal(unit):
    words = ["journalctl", "--no-pager", "-n", "30", "-u", unit]
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False).stdout


@contextmanager
def by_rootlesskit(docker, manager):
    """A daemon of the caller's, in a user namespace that rootlesskit makes."""
    for program in ["rootlesskit", "slirp4netns", "newuidmap"]:
        if not shutil.which(program):
            raise Skip(f"{program} is not installed")
    if not os.path.exists(ROOTLESS):
        raise Skip(f"there is no {ROOTLESS}")
    folder = tempfile.mkdtemp(dir=docker.room.work)
    with open(f"{folder}/daemon.json", "w") as file:
        json.dump(settings(docker.room, docker.mode, manager), file)
    log = open(f"{folder}/log", "w+")
    env = {**docker.environment(), "DOCKERD_ROOTLESS_ROOTLESSKIT_NET": "slirp4netns"}
    env["PATH"] += ":/usr/sbin:/sbin"
    words = [ROOTLESS, "--config-file", f"{folder}/daemon.json", "--data-root", f"{folder}/data"]
    daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True)

    def said():
        log.seek(0)
        return log.read()[-3000:]

    try:
        docker.wait_until_up(said)
        yield docker
    finally:
        daemon.terminate()
        try:
            daemon.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(daemon.pid, 9)
            daemon.wait()
        log.close()


@contextmanager
def opened(place, mode, manager, verbose):
    if not shutil.which("dockerd"):
        raise Skip("docker is not installed")
    socket = f"{os.environ['XDG_RUNTIME_DIR']}/docker.sock" if mode == "rootless" else "/run/docker.sock"
    docker = Docker(place, mode, socket, verbose)
    with (by_rootlesskit if mode == "rootless" else by_systemd)(docker, manager):
        if docker("image inspect box").status != 0:
            docker.import_image()
        yield docker
        docker.execute(["rm"], ["sh", "-c", "docker ps -aq | xargs -r docker rm -f"])


def versions():
    return f"docker {host.version('dockerd')}, containerd {host.version('containerd')}"


def features_are_known(p):
    """The daemon calls `features` of each runtime at its start, and keeps what it could read."""
    runtimes = json.loads(p.out("info -f '{{json .Runtimes}}'"))
    kept = json.loads(runtimes[p.room.name]["status"]["org.opencontainers.runtime-spec.features"])
    shown = subprocess.run([p.room.runtime, "features"], stdout=subprocess.PIPE, text=True, check=True).stdout
    own = json.loads(shown)
    for name in ["ociVersionMin", "ociVersionMax", "hooks"]:
        assert kept[name] == own[name], (name, kept, own)


def time_namespace(p):
    host.need_time_namespaces()
    shown = p.out("run --rm --runtime timed box readlink /proc/self/ns/time")
    assert shown.startswith("time:") and shown != os.readlink("/proc/self/ns/time"), shown
