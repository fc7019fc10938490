"""podman as the host has it: its own storage, network and cgroup manager."""

import os
import subprocess
from contextlib import contextmanager

import host
from command import Command

CONFIG = """
[containers]
netns = "none"
{log}
[engine]
runtime = "{name}"
runtime_supports_json = ["crun", "runc", "rt"]
runtime_supports_nocgroup = ["crun", "rt"]
infra_image = "localhost/box"
cgroup_manager = "{manager}"
[engine.runtimes]
{name} = ["{runtime}"]
"""
FIRST_SUBORDINATE = 100_000


class Podman(Command):
    """The caller's podman with the runtime of the place."""

    program = "podman"
    patience_seconds = 120

    def __init__(self, place, manager, verbose=False):
        super().__init__(place.work, verbose)
        self.room, self.manager = place, manager
        self.uid = os.getuid()
        self.root = self.uid == 0
        self.options = ["--log-level=error"]
        self.confinement = ""
        self.config = f"{place.work}/containers.{place.name}.conf"
        runtime_dir = "/run" if self.root else os.environ["XDG_RUNTIME_DIR"]
        self.state = f"{runtime_dir}/{place.name}"
        with open(self.config, "w") as file:
            log = "" if host.systemd() else 'log_driver = "k8s-file"'
            file.write(CONFIG.format(name=place.name, runtime=place.runtime, manager=manager, log=log))

    def environment(self, extra=None):
        return {**os.environ, "TERM": "xterm", "CONTAINERS_CONF_OVERRIDE": self.config, **(extra or {})}

    def shell(self, line, timeout=None):
        """A command of the host inside podman's user namespace."""
        words = ["unshare", "sh", "-c", line]
        argv = ["sh", "-c", line] if self.root else [self.program, *self.options, *words]
        return self.execute(words, argv, timeout=timeout)

    def host_id(self, inside):
        if self.root:
            return inside
        return self.uid if inside == 0 else FIRST_SUBORDINATE + inside - 1

    def folder(self, name, owner=None, mode=0o755):
        """A folder of the host, the caller's own unless said."""
        self.count += 1
        path = f"{self.room.work}/{name}{self.count}.{self.room.name}"
        os.makedirs(path, mode)
        os.chmod(path, mode)
        if owner:
            os.chown(path, *owner)
        return path

    def import_image(self):
        changes = ["--change", "ENV=FROM_IMAGE=yes", "--change", "ENV=PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        changes += ["--change", "CMD=/bin/pause"]
        self.out(["import", *changes, self.room.image, "box"])


def give_automatic_namespaces_ids():
    """--userns=auto takes ids from a range of this name."""
    for path in ["/etc/subuid", "/etc/subgid"]:
        if "containers:" not in open(path).read():
            with open(path, "a") as file:
                file.write("containers:500000:65536\n")


@contextmanager
def opened(place, manager, verbose):
    podman = Podman(place, manager, verbose)
    if podman.root:
        give_automatic_namespaces_ids()
    if podman("image exists localhost/box").status != 0:
        podman.import_image()
    try:
        yield podman
    finally:
        podman("rm -af -t 0")


def versions():
    conmon = subprocess.run(["conmon", "--version"], stdout=subprocess.PIPE, text=True, check=False).stdout.split()
    return f"podman {host.version('podman')}, conmon {conmon[2] if len(conmon) > 2 else '?'}"
