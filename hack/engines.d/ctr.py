"""containerd by ctr: its runc shim calls the runtime."""

import json
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import cli
import host
import image
from case import Skip
from command import Command

IMAGE = "docker.io/library/box:latest"
CONFIG = """version = 2
root = "{work}/root"
state = "{work}/state"
[grpc]
  address = "{work}/socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "{snapshotter}"
  default_runtime_name = "measured"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.measured]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.measured.options]
  BinaryName = "{runtime}"
  SystemdCgroup = {systemd}
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{work}/cni"
"""
NETWORK = """{ "cniVersion": "0.4.0", "name": "pods", "plugins": [
  { "type": "bridge", "bridge": "pods0", "isGateway": true,
    "ipam": { "type": "host-local", "dataDir": "%s/ipam", "ranges": [[{ "subnet": "10.88.77.0/24" }]] } } ] }
"""
START_SECONDS = 90


class Ctr(Command):
    program = "ctr"
    refusal = 1
    patience_seconds = 120

    def __init__(self, place, work, manager, verbose=False):
        super().__init__(place.work, verbose)
        self.room, self.work, self.manager = place, work, manager
        self.uid, self.root = os.getuid(), os.getuid() == 0
        self.socket = f"{work}/socket"
        self.options = ["-a", self.socket, "-n", "matrix"]
        self.snapshotter = "native" if host.user_mode_linux() or not host.systemd() else "overlayfs"

    def environment(self, extra=None):
        return {**os.environ, "TERM": "xterm", **(extra or {})}

    def name(self):
        self.count += 1
        return f"c{self.count}-{self.room.name}"

    @staticmethod
    def may_lose_output(line):
        """ctr can end before it has copied what a short payload printed, with any runtime."""
        return str(line).startswith(("run ", "task exec "))

    def line(self, options, command, name=None):
        """The words of `run`; the container's name comes before its command."""
        name = name or self.name()
        return f"run --snapshotter {self.snapshotter} {self.runtime(name)} {options} {IMAGE} {name} {command}"

    def runtime(self, name):
        cgroup = self.cgroup(name)
        return f"--runc-binary {self.room.runtime}" + (f" --runc-systemd-cgroup --cgroup {cgroup}" if cgroup else "")

    def cgroup(self, name):
        """For config.json; none: what ctr gives it itself."""

    def seen_from_outside(self, path):
        """A path of the daemon's, which may have mounts of its own."""
        return path

    def folder(self, name, mode=0o755):
        self.count += 1
        path = f"{self.work}/{name}{self.count}"
        os.makedirs(path, mode)
        return path

    @contextmanager
    def task(self, options, command):
        name = self.name()
        try:
            self.out(self.line(f"-d {options}", command, name))
            yield name
        finally:
            self(f"task delete -f {name}")
            self(f"container delete {name}")

    def pid(self, name):
        return int(re.search(rf"^{name}\s+(\d+)", self.out("task ls"), re.MULTILINE)[1])

    def wait_for_status(self, name, status):
        return self.wait_for("task ls", rf"(?m)^{name}\s+\d+\s+{status}")


def settled(ctr):
    """Writes what containerd of our own reads; returns its command and its environment."""
    place, work = ctr.room, ctr.work
    os.makedirs(f"{work}/cni", 0o711, exist_ok=True)
    systemd = "true" if ctr.manager == "systemd" else "false"
    with open(f"{work}/config.toml", "w") as file:
        file.write(CONFIG.format(work=work, image=IMAGE, runtime=place.runtime, systemd=systemd, snapshotter=ctr.snapshotter))
    with open(f"{work}/cni/pods.conflist", "w") as file:
        file.write(NETWORK % work)
    # With --uidmap ctr forgets --runc-binary, and its shim takes the runc of PATH.
    os.makedirs(f"{work}/bin", exist_ok=True)
    if not os.path.exists(f"{work}/bin/runc"):
        os.symlink(place.runtime, f"{work}/bin/runc")
    return ["containerd", "-c", f"{work}/config.toml"], {**os.environ, "PATH": f"{work}/bin:{os.environ['PATH']}"}


@contextmanager
def running(ctr, words, env):
    """The daemon, from when it answers."""
    with open(f"{ctr.work}/log", "w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env=env)
    try:
        end = time.monotonic() + START_SECONDS
        while ctr("version").status != 0:
            assert process.poll() is None and time.monotonic() < end, open(f"{ctr.work}/log").read()[-3000:]
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def daemon(place, manager, verbose):
    """A containerd of our own with the runtime as that of its CRI, too."""
    host.need_program("containerd", "ctr")
    ctr = Ctr(place, f"{place.work}/containerd.{place.name}", manager, verbose)
    with running(ctr, *settled(ctr)):
        yield ctr


def import_image(ctr):
    archive = image.write(f"{ctr.room.work}/box.tar", IMAGE, ctr.room.image)
    ctr.out(f"image import --snapshotter {ctr.snapshotter} {archive}", timeout=200)


@contextmanager
def opened(place, manager, verbose):
    with daemon(place, manager, verbose) as ctr:
        import_image(ctr)
        yield ctr


def versions():
    return f"containerd {host.version('containerd')}"


def run(c):
    c.expect(c.line("--rm --env A=b --cwd /tmp", "sh -c 'echo out $A; pwd'"), "out b\n/tmp")
    c.expect(c.line("--rm --read-only", "sh -c 'touch /x 2> /dev/null || echo refused'"), "refused")


def execute(c):
    with c.task("", "sleep 100") as t:
        c.expect(f"task exec --exec-id one {t} sh -c 'readlink /proc/1/exe; id -u'", "/bin/busybox\n0")
        c.expect(f"task exec --exec-id two --user 100:101 --cwd /tmp {t} sh -c 'id -u; id -g; pwd'", "100\n101\n/tmp")
        c.fails(f"task exec --exec-id three {t} sh -c 'exit 9'", 9)


def tty(c):
    status, shown = terminal(c, c.line("--rm -t", "sh"), [("# ", "tty; exit 3\n")])
    assert status == 3 and "/dev/" in shown, (status, shown)
    with c.task("", "sleep 100") as t:
        status, shown = terminal(c, f"task exec -t --exec-id one {t} sh", [("# ", "tty; exit 4\n")])
        assert status == 4 and "/dev/pts/" in shown, (status, shown)


def terminal(c, line, dialogue):
    words, argv = c.argv(line)
    return c.terminal(words, dialogue, argv=argv)


def metrics(c):
    host.need_controllers("memory", "pids")
    with c.task("--memory-limit 67108864", "sleep 100") as t:
        shown = c.out(f"task metrics --format json {t}")
        assert re.search(r'"usage_limit":\s*"?67108864', shown), shown


def top(c):
    with c.task("", "sh -c 'sleep 77 & exec sleep 78'") as t:
        c.wait_for(f"task ps {t}", r"(?m)^\d+\s(.*\n)+\d+\s")


def limits(c):
    host.need_controllers("memory", "cpu")
    with c.task("--memory-limit 67108864 --cpus 0.5", "sleep 100") as t:
        # The default mounts of ctr have no cgroup.
        assert host.limits_of(c.pid(t)) == ["67108864", "50000 100000"]


def pause(c):
    with c.task("", "sleep 100") as t:
        events = f"{host.cgroup_of(c.pid(t))}/cgroup.events"
        c.out(f"task pause {t}")
        c.wait_for_status(t, "PAUSED")
        assert "frozen 1" in open(events).read()
        c.out(f"task resume {t}")
        c.wait_for_status(t, "RUNNING")
        assert "frozen 0" in open(events).read()


def kill(c):
    with c.task("", "sh -c 'trap \"exit 6\" HUP; touch /up; while :; do usleep 50000; done'") as t:
        c.wait_for(f"task exec --exec-id one {t} ls /up", "^/up")
        c.out(f"task kill -s HUP {t}")
        c.wait_for_status(t, "STOPPED")
        result = c(f"task kill -s TERM {t}")
        assert result.status != 0 and re.search("not found|finished", result.err), str(result)
        ended_with(c, t, 6)


def delete(c):
    with c.task("", "sh -c 'sleep 100 & exec sleep 100'") as t:
        pid = c.pid(t)
        cgroup = host.cgroup_of(pid)
        c.fails(f"task delete {t}", 1, "stopped|running")
        ended_with(c, f"-f {t}", 137)
        assert not os.path.exists(f"/proc/{pid}"), "the payload lives on"
        cli.wait_until(lambda: not os.path.exists(cgroup), f"{cgroup} is left")
    left = [path for path, _, _ in os.walk(c.seen_from_outside("/run/containerd/runc/matrix")) if path.endswith(t)]
    assert not left, left


def ended_with(c, task, status):
    """Newer ctr only warns of a status."""
    result = c(f"task delete {task}")
    assert result.status == status or f"exit code {status}" in result.err, str(result)


def volumes(c):
    folder = c.folder("volume")
    c.out(c.line(f"--rm --mount type=bind,src={folder},dst=/data,options=rbind:rw", "touch /data/made"))
    assert os.listdir(folder) == ["made"]
    shown = c.line(f"--rm --mount type=bind,src={folder},dst=/data,options=rbind:ro", "sh -c 'touch /data/x || ls /data'")
    c.expect(shown, "made")


def mapped(c):
    maps = "--uidmap 0:2000:1000 --gidmap 0:2000:1000"
    assert c.out(c.line(f"--rm {maps}", "sh -c 'id -u; cut -c 12-22 /proc/self/uid_map'")).split() == ["0", "2000"]


def shared(c):
    with c.task("", "sleep 111") as t:
        kinds = {"pid": "pid", "network": "net", "ipc": "ipc"}
        with_ns = " ".join(f"--with-ns {kind}:/proc/{c.pid(t)}/ns/{file}" for kind, file in kinds.items())
        c.expect(c.line(f"--rm {with_ns}", "ps -o pid,args"), re.compile(r"\b1 sleep 111"))


def confined(c):
    c.expect(c.line("--rm --seccomp", "sed -n 's/^Seccomp:.//p' /proc/self/status"), "2")
    if c.root and os.path.isdir("/sys/kernel/security/apparmor"):
        profile = "--apparmor-default-profile matrix"
        c.expect(c.line(f"--rm {profile}", "cat /proc/self/attr/current"), "matrix (enforce)")


def privileged(c):
    c.expect(c.line("--rm --privileged", "sh -c 'mkdir /m; mount -t tmpfs none /m && echo mounted'"), "mounted")


def status(c):
    c.fails(c.line("--rm", "sh -c 'exit 42'"), 42)


def signalled(c):
    with c.task("", "sleep 100") as t:
        c.out(f"task kill -s KILL {t}")
        c.wait_for_status(t, "STOPPED")
        ended_with(c, t, 137)


def refused(c):
    """ctr has one status for all, so the words count."""
    c.fails(c.line("--rm", "/etc"), 1, "permission denied|not permitted|is a directory")
    c.fails(c.line("--rm", "/etc/not-a-program"), 1, "permission denied|not permitted")


def not_found(c):
    c.fails(c.line("--rm", "no-such-program"), 1, "not found|no such file")
    with c.task("", "sleep 100") as t:
        c.fails(f"task exec --exec-id one {t} no-such-program", 1, "not found|no such file")


def out_of_memory(c):
    host.need_controllers("memory")
    command = "dd if=/dev/zero of=/dev/null bs=200M count=1"
    c.fails(c.line("--rm --memory-limit 25165824", command), 137)


def thirty(c):
    with ThreadPoolExecutor(30) as pool:
        lines = [c.line("--rm", f"echo {n}") for n in range(30)]
        found = list(pool.map(lambda line: c.out(line, timeout=400), lines))
    assert found == [str(n) for n in range(30)], found


def attach(c):
    """ctr has no keys to leave by."""
    name = c.name()
    line = c.line("-t", cli.ECHOING, name)
    try:
        terminal(c, line.replace("run ", "run -d ", 1), [])
        status, shown = terminal(c, f"task attach {name}", [("tick", "one\n"), ("got one", "end\n")])
        assert status == 6, (status, shown)
    finally:
        c(f"task delete -f {name}")
        c(f"container delete {name}")


def checkpoint(c):
    if not c.root:
        raise Skip("criu's saving is root's")
    host.need_criu()
    count = "sh -c 'i=0; while :; do i=$((i+1)); echo $i > /tmp/new; mv /tmp/new /now; usleep 100000; done'"
    saved, back = f"saved-{c.room.name}", f"back-{c.room.name}"
    with c.task("", count) as t:
        c.wait_for(f"task exec --exec-id one {t} cat /now", r"^\d\d")
        c.out(f"container checkpoint --rw --image --task {t} {saved}")
    try:
        c.out(f"container restore --rw --live {back} {saved}")
        first = int(c.wait_for(f"task exec --exec-id two {back} cat /now", r"^\d\d").out)
        cli.wait_until(lambda: int(c.out(f"task exec --exec-id three {back} cat /now")) > first > 9, "it does not go on")
    finally:
        c(f"task delete -f {back}")
        c(f"container delete {back}")


def logs(c):
    name, path = c.name(), f"{c.folder('log')}/log"
    try:
        # It lives on, since the shim may forget the one stream when the other has ended at once.
        c.out(c.line(f"-d --log-uri file://{path}", "sh -c 'echo one; echo two >&2; sleep 100'", name))
        cli.wait_until(lambda: sorted(open(path).read().split()) == ["one", "two"], f"not one and two in {path}")
    finally:
        c(f"task delete -f {name}")
        c(f"container delete {name}")


def time_namespace(c):
    """ctr takes a whole config.json."""
    host.need_time_namespaces()
    name, bundle = c.name(), c.folder("bundle")
    subprocess.run([c.room.runtime, "spec", "--bundle", bundle], check=True, stdout=subprocess.DEVNULL)
    path = f"{bundle}/config.json"
    with open(path) as file:
        config = json.load(file)
    config["process"].update(args=["readlink", "/proc/self/ns/time"], terminal=False)
    config["root"] = {"path": c.room.rootfs, "readonly": True}
    config["linux"]["namespaces"].append({"type": "time"})
    if cgroup := c.cgroup(name):
        config["linux"]["cgroupsPath"] = cgroup
    with open(path, "w") as file:
        json.dump(config, file)
    shown = c.out(f"run --rm {c.runtime(name)} --config {path} {name}")
    assert shown.startswith("time:") and shown != os.readlink("/proc/self/ns/time"), shown


TESTS = {
    "run": [run], "exec": [execute], "tty": [tty], "attach": [attach], "stats": [metrics], "top": [top], "limits": [limits],
    "pause": [pause], "kill": [kill], "delete": [delete], "volumes": [volumes], "user namespace": [mapped],
    "shared namespaces": [shared], "confinement": [confined], "privileged": [privileged], "status of the payload": [status],
    "status 128+n": [signalled], "status 126": [refused], "status 127": [not_found], "out of memory": [out_of_memory],
    "30 at once": [thirty], "checkpoint": [checkpoint], "logs": [logs], "time namespace": [time_namespace],
}  # fmt: skip
