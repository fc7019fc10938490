"""CRI-O, which Debian has not: what it executes, word for word, with the real conmon.

conmon makes containers and runs execs; CRI-O itself starts, signals, updates and deletes them.
What it reads of the answers (state, features, the words of errors) is read here, too.
"""

import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import cli
import host
from command import Command

# What CRI-O takes for "it has ended already" when a signal fails (case matters).
ENDED = "no such process|container not running|invalid process"


class Crio(Command):
    """`line` is of the runtime's command line, after its global options."""

    refusal = 1
    patience_seconds = 90

    def __init__(self, place, manager, verbose=False):
        super().__init__(place.work, verbose)
        self.room, self.manager = place, manager
        self.program, self.uid, self.root = place.runtime, 0, True
        self.work = f"{place.work}/crio.{place.name}"
        self.globals = [f"--root={self.work}/state"]
        self.options = ["--root", f"{self.work}/state"]
        if manager == "systemd":
            self.options.append("--systemd-cgroup")
        for folder in ["exits", "sockets", "state", "bundles"]:
            os.makedirs(f"{self.work}/{folder}", exist_ok=True)

    def environment(self, extra=None):
        return {**os.environ, **(extra or {})}

    def cgroup(self, name):
        return f"system.slice:crio:{name}" if self.manager == "systemd" else f"/crio/{name}"

    def bundle(self, name, args, edit=None):
        folder = f"{self.work}/bundles/{name}"
        os.mkdir(folder)
        subprocess.run([self.program, "spec", "--bundle", folder], check=True, stdout=subprocess.DEVNULL)
        with open(f"{folder}/config.json") as file:
            config = json.load(file)
        config["process"].update(args=args, terminal=False)
        config["root"] = {"path": self.room.rootfs, "readonly": True}
        config["linux"]["cgroupsPath"] = self.cgroup(name)
        config["annotations"] = {"io.kubernetes.cri-o.ContainerID": name, "io.container.manager": "cri-o"}
        if edit:
            edit(config)
        with open(f"{folder}/config.json", "w") as file:
            json.dump(config, file)
        return folder

    def conmon(self, name, *more):
        """Runs conmon; returns what it reports on its pipe."""
        read, write = os.pipe()
        words = ["conmon", "-c", name, "-n", name, "-r", self.program, "-l", f"{self.work}/{name}.log", "-u", name]
        words += ["--socket-dir-path", f"{self.work}/sockets", "--log-level", "info", "--syslog"]
        words += [word for one in self.globals for word in ("--runtime-arg", one)]
        if self.manager == "systemd":
            words.append("-s")
        env = self.environment({"_OCI_SYNCPIPE": str(write)})
        child = subprocess.Popen([*words, *more], env=env, pass_fds=[write], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        os.close(write)
        with os.fdopen(read) as reports:
            line = reports.readline()
            assert line, f"conmon says nothing; status {child.wait()}: {child.stderr.read()}"
            if "-e" in more:
                line = reports.readline() or line
        child.stderr.close()
        child.wait()
        return json.loads(line)

    def create(self, name, args, edit=None):
        folder = self.bundle(name, args, edit)
        return self.conmon(name, "-b", folder, "--exit-dir", f"{self.work}/exits", "-p", f"{folder}/pidfile",
                           "-P", f"{folder}/conmon-pidfile")

    @contextmanager
    def container(self, line, verb="start", edit=None):
        self.count += 1
        name = f"crio{self.count}-{self.room.name}"
        made = self.create(name, line if isinstance(line, list) else line.split(), edit)
        try:
            assert pid_of(made) > 0, made
            if verb == "start":
                self.out(f"start {name}")
            yield name
        finally:
            self(f"delete --force {name}")

    def state(self, name):
        return json.loads(self.out(f"state {name}"))

    def wait(self, name):
        path = f"{self.work}/exits/{name}"
        cli.wait_until(lambda: os.path.exists(path) and open(path).read(), f"{name} never ended", 60)
        return int(open(path).read())

    def log(self, name):
        return open(f"{self.work}/{name}.log").read()

    def process(self, *args, **more):
        """A file with a process, as CRI-O writes it for an exec."""
        self.count += 1
        path = f"{self.work}/process{self.count}.json"
        about = {"args": args, "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"], "terminal": False, **more}
        with open(path, "w") as file:
            json.dump(about, file)
        return path


def pid_of(report):
    """conmon's word for it depends on its age and on who asks."""
    return report.get("pid", report.get("data", -1))


@contextmanager
def opened(place, manager, verbose):
    host.need_program("conmon")
    crio = Crio(place, manager, verbose)
    yield crio
    shutil.rmtree(crio.work, ignore_errors=True)


def versions():
    shown = subprocess.run(["conmon", "--version"], stdout=subprocess.PIPE, text=True, check=False).stdout.split()
    return f"conmon {shown[2] if len(shown) > 2 else '?'}"


def run(c):
    with c.container(["sh", "-c", "echo to-out; echo to-err >&2; exit 5"]) as name:
        assert c.wait(name) == 5
        assert re.search("stdout F to-out(.|\n)*stderr F to-err", c.log(name)), c.log(name)


def execute(c):
    with c.container("sleep 100") as name:
        c.expect(f"exec --process {c.process('readlink', '/proc/1/exe')} {name}", "/bin/busybox")
        c.fails(f"exec --process {c.process('sh', '-c', 'exit 9')} {name}", 9)
        made = c.conmon(name, "-e", "-p", f"{c.work}/exec.pid", "--exec-process-spec", c.process("sh", "-c", "echo synced; exit 4"))
        assert made.get("exit_code", made.get("data")) == 4, made


def state(c):
    """What CRI-O reads to know how a container is."""
    with c.container("sleep 100", verb="create") as name:
        found = c.state(name)
        assert (found["id"], found["status"], found["bundle"]) == (name, "created", f"{c.work}/bundles/{name}"), found
        assert found["pid"] == int(open(f"{found['bundle']}/pidfile").read())
        c.out(f"start {name}")
        assert c.state(name)["status"] == "running"
        c.out(f"kill {name} KILL")
        assert c.wait(name) == 137
        found = c.state(name)
        assert (found["status"], found["pid"]) == ("stopped", 0), found


def pause(c):
    with c.container("sleep 100") as name:
        c.out(f"pause {name}")
        assert c.state(name)["status"] == "paused"
        c.out(f"resume {name}")
        assert c.state(name)["status"] == "running"


def kill(c):
    with c.container(["sh", "-c", "trap 'exit 6' TERM; echo up; while :; do usleep 50000; done"]) as name:
        cli.wait_until(lambda: "up" in c.log(name), "never up")
        c.out(f"kill {name} TERM")
        assert c.wait(name) == 6
        result = c(f"kill {name} KILL")
        assert result.status != 0 and re.search(ENDED, result.err), str(result)


def stop(c):
    with c.container(["sh", "-c", "trap : TERM; echo up; while :; do usleep 50000; done"]) as name:
        cli.wait_until(lambda: "up" in c.log(name), "never up")
        c.out(f"kill {name} TERM")
        c.out(f"kill -a {name} KILL")
        assert c.wait(name) == 137


def delete(c):
    with c.container("sleep 100") as name:
        pid = c.state(name)["pid"]
        cgroup = host.cgroup_of(pid)
        c.out(f"delete --force {name}")
        assert not os.path.exists(f"/proc/{pid}/exe") and not os.path.exists(f"{c.work}/state/{name}")
        cli.wait_until(lambda: not os.path.exists(cgroup), f"{cgroup} is left")
        result = c(f"delete {name}")
        assert result.status != 0 and "does not exist" in result.err, str(result)
        c.out(f"delete --force {name}")


def limits(c):
    host.need_controllers("memory", "cpu")

    def limit(config):
        config["linux"]["resources"].update(memory={"limit": 64 << 20, "swap": 64 << 20}, cpu={"quota": 50000, "period": 100000})

    with c.container("sleep 100", edit=limit) as name:
        assert host.limits_of(c.state(name)["pid"]) == ["67108864", "50000 100000"]


def update(c):
    host.need_controllers("memory", "cpu")
    with c.container("sleep 100") as name:
        limits = {"memory": {"limit": 48 << 20, "swap": 48 << 20}, "cpu": {"quota": 20000, "period": 100000, "shares": 512}}
        c.out(f"update --resources - {name}", stdin=json.dumps(limits))
        assert host.limits_of(c.state(name)["pid"]) == ["50331648", "20000 100000"]


def shared_namespaces(config, pid):
    for namespace in config["linux"]["namespaces"]:
        if namespace["type"] in ("network", "ipc", "uts"):
            kind = "net" if namespace["type"] == "network" else namespace["type"]
            namespace["path"] = f"/proc/{pid}/ns/{kind}"
    config.pop("hostname", None)


def pods(c):
    with c.container("sleep 100") as infra:
        pid = c.state(infra)["pid"]
        with c.container("sleep 101", edit=lambda config: shared_namespaces(config, pid)) as name:
            own = c.state(name)["pid"]
            for kind in ["net", "ipc", "uts"]:
                assert os.readlink(f"/proc/{own}/ns/{kind}") == os.readlink(f"/proc/{pid}/ns/{kind}"), kind


def features(c):
    """CRI-O makes pods with user namespaces, and recursive read-only mounts, only where these say so."""
    shown = subprocess.run([c.program, "features"], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = json.loads(shown)
    assert "rro" in found["mountOptions"], found["mountOptions"]
    assert found["linux"]["mountExtensions"]["idmap"]["enabled"] is True, found["linux"]


def mapped(c):
    """A pod with hostUsers: false."""

    def maps(config):
        config["linux"]["namespaces"].append({"type": "user"})
        ids = [{"containerID": 0, "hostID": 200_000, "size": 65536}]
        config["linux"].update(uidMappings=ids, gidMappings=ids)

    with c.container(["sh", "-c", "id -u; cat /proc/self/uid_map; sleep 100"], edit=maps) as name:
        cli.wait_until(lambda: re.search(r"F 0\n.* F +0 +200000 +65536\n", c.log(name)), f"no such ids in the log of {name}")
        assert os.stat(f"/proc/{c.state(name)['pid']}").st_uid == 200_000


def time_namespace(c):
    host.need_time_namespaces()

    def timed(config):
        config["linux"]["namespaces"].append({"type": "time"})

    with c.container("sleep 100", edit=timed) as name:
        assert os.readlink(f"/proc/{c.state(name)['pid']}/ns/time") != os.readlink("/proc/self/ns/time")


def failed(c, args, words):
    c.count += 1
    name = f"crio{c.count}-{c.room.name}"
    made = c.create(name, args)
    if pid_of(made) > 0:
        result = c(f"start {name}")
        made = {"message": result.err}
    c(f"delete --force {name}")
    assert re.search(words, made.get("message", "")), made


def not_found(c):
    failed(c, ["no-such-program"], "(?i)executable file .*not found in \\$PATH")


def not_executable(c):
    failed(c, ["/etc/not-a-program"], "(?i)permission denied|not permitted")


def status(c):
    with c.container(["sh", "-c", "exit 42"]) as name:
        assert c.wait(name) == 42


def signalled(c):
    with c.container(["sh", "-c", "sh -c 'kill -TERM $$'; exit $?"]) as name:
        assert c.wait(name) == 143


def out_of_memory(c):
    host.need_controllers("memory")

    def limit(config):
        config["linux"]["resources"]["memory"] = {"limit": 24 << 20, "swap": 24 << 20}

    with c.container("dd if=/dev/zero of=/dev/null bs=200M count=1", edit=limit) as name:
        assert c.wait(name) == 137


def tty(c):
    """The terminal's master goes to conmon by the console socket."""
    c.count += 1
    name = f"crio{c.count}-{c.room.name}"
    folder = c.bundle(name, ["sh", "-c", "tty; test -t 0 && echo terminal"], lambda config: config["process"].update(terminal=True))
    made = c.conmon(name, "-t", "-b", folder, "--exit-dir", f"{c.work}/exits", "-p", f"{folder}/pidfile")
    try:
        assert pid_of(made) > 0, made
        c.out(f"start {name}")
        assert c.wait(name) == 0
        assert re.search("/dev/(console|pts)(.|\n)*terminal", c.log(name)), c.log(name)
    finally:
        c(f"delete --force {name}")


def checkpoint(c):
    host.need_criu()
    with c.container(["sh", "-c", "i=0; while :; do i=$((i+1)); echo tick $i; usleep 100000; done"]) as name:
        cli.wait_until(lambda: "tick 3" in c.log(name), "never ticks")
        bundle = f"{c.work}/bundles/{name}"
        os.mkdir(f"{bundle}/work")  # CRI-O gives a folder that is there, and crun wants one
        c.out(f"checkpoint --image-path={bundle}/checkpoint --work-path={bundle}/work --file-locks {name}")
        assert c.wait(name) >= 0
        c(f"delete --force {name}")
        os.unlink(f"{c.work}/exits/{name}")
        last = c.log(name).rsplit("tick ", 1)[1].split()[0]
        made = c.conmon(name, "-b", bundle, "--exit-dir", f"{c.work}/exits", "-p", f"{bundle}/pidfile",
                        "--restore", f"{bundle}/checkpoint", "--runtime-opt", "--file-locks")
        assert pid_of(made) > 0, made
        cli.wait_until(lambda: f"tick {int(last) + 2}\n" in c.log(name), c.log(name)[-300:])


def thirty(c):
    def one(number):
        name = f"many{number}-{c.room.name}"
        made = c.create(name, ["sh", "-c", f"exit {number}"])
        assert pid_of(made) > 0, made
        c.out(f"start {name}", timeout=400)
        try:
            return c.wait(name)
        finally:
            c(f"delete --force {name}", timeout=400)

    with ThreadPoolExecutor(30) as pool:
        found = list(pool.map(one, range(30)))
    assert found == list(range(30)), found


TESTS = {
    "features": [features], "run": [run, state], "exec": [execute], "tty": [tty], "limits": [limits], "update": [update], "pause": [pause],
    "kill": [kill], "stop": [stop], "delete": [delete], "user namespace": [mapped], "time namespace": [time_namespace], "pods": [pods],
    "status of the payload": [status], "status 128+n": [signalled], "status 126": [not_executable], "status 127": [not_found],
    "out of memory": [out_of_memory], "30 at once": [thirty], "checkpoint": [checkpoint],
}  # fmt: skip
