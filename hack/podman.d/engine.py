"""podman as the tests see it: calls with a time limit, what they print, and terminals."""

import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import room as rooms

CONFIG = """
[containers]
netns = "none"
pids_limit = 0
log_driver = "k8s-file"
{containers}
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "{name}"
runtime_supports_json = {json}
runtime_supports_nocgroup = ["crun", "rt"]
infra_image = "localhost/box"
{init}
[engine.runtimes]
{name} = ["{runtime}"]
"""
# Stands in for catatonit where that is not installed: same arguments.
INIT = "#!/bin/sh\nshift\n[ \"$1\" != -- ] || shift\n\"$@\"\n"


class Result:
    def __init__(self, words, status, out, err):
        self.words, self.status, self.out, self.err = words, status, out, err

    def __str__(self):
        return f"podman {shlex.join(self.words)}\nstatus {self.status}\nout: {self.out.strip()}\nerr: {self.err.strip()}"


class Podman:
    """`who` calls podman in the room, with the room's runtime."""

    def __init__(self, room, who, verbose=False):
        self.room, self.who, self.verbose = room, who, verbose
        self.count = 0
        self.root = who == "root"
        self.uid = 0 if self.root else rooms.USER_ID
        self.dir = f"{room.work}/{who}"
        os.makedirs(self.dir, exist_ok=True)
        self.home = f"{room.work}/home" if not self.root else self.dir
        self.runtime_dir = f"{room.work}/run" if not self.root else "/run"
        self.state = f"{self.runtime_dir}/{os.path.basename(room.runtime)}"
        self.init = f"{room.work}/init"
        with open(self.init, "w") as file:
            file.write(INIT)
        os.chmod(self.init, 0o755)
        self.write_configs()
        self.config = f"{self.dir}/containers.conf"
        self.options = ["--storage-driver=vfs", "--log-level=error"]
        # What buildah and podman's build have to be told, which do not read the line above.
        self.confinement = ""

    def write_config(self, name, json, containers=""):
        path = f"{self.dir}/{name}"
        runtime, base = self.room.runtime, os.path.basename(self.room.runtime)
        init = "" if shutil.which("catatonit") else f'init_path = "{self.init}"'
        text = CONFIG.format(name=base, json=json, containers=containers, init=init, runtime=runtime)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o644)

    def write_configs(self, containers=""):
        """The configuration that docs/engines.md asks for, and one that leaves rt unknown."""
        self.write_config("containers.conf", '["crun", "runc", "rt"]', containers)
        self.write_config("plain.conf", "[]", containers)

    def environment(self, extra=None):
        env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": self.home,
            "USER": "root" if self.root else rooms.USER,
            "TERM": "xterm",
            "CONTAINERS_CONF": self.config,
        }
        if not self.root:
            env["XDG_RUNTIME_DIR"] = self.runtime_dir
        return {**env, **(extra or {})}

    def argv(self, line):
        words = shlex.split(line) if isinstance(line, str) else list(line)
        return words, ["podman", *self.options, *words]

    def account(self):
        return {} if self.root else {"user": self.uid, "group": self.uid, "extra_groups": []}

    def __call__(self, line, stdin=None, env=None, timeout=40, pass_fds=()):
        """Runs `podman LINE`, quoted as a shell would have it."""
        words, argv = self.argv(line)
        return self.execute(words, argv, stdin, env, timeout, pass_fds)

    def execute(self, words, argv, stdin=None, env=None, timeout=40, pass_fds=()):
        started = time.monotonic()
        child = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=self.home,
            env=self.environment(env),
            pass_fds=pass_fds,
            **self.account(),
        )
        try:
            out, err = child.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            raise AssertionError(f"podman {shlex.join(words)}: not done after {timeout} s\n{out}{err}") from None
        if self.verbose:
            print(f"  # {time.monotonic() - started:.2f} s, {child.returncode}: {shlex.join(words)}", flush=True)
        return Result(words, child.returncode, out, err)

    def shell(self, line, timeout=40):
        """A command of the host, as the user, inside podman's user namespace."""
        words = ["unshare", "sh", "-c", line]
        argv = ["sh", "-c", line] if self.root else ["podman", *self.options, *words]
        return self.execute(words, argv, timeout=timeout)

    def out(self, line, **more):
        """What a call that has to succeed prints, without the last newline."""
        result = self(line, **more)
        assert result.status == 0, str(result)
        return result.out.rstrip("\n")

    def expect(self, line, wanted, **more):
        """The call succeeds and prints what is wanted: a text, or a compiled pattern."""
        got = self.out(line, **more)
        if got == "" != wanted and self.may_lose_output(line):
            got = self.out(line, **more)
        same = wanted.search(got) if isinstance(wanted, re.Pattern) else got == wanted
        assert same, f"podman {line}\nwanted: {wanted!r}\ngot: {got!r}"
        return got

    def fails(self, line, status, says="", **more):
        """The call fails with the status, and its stderr matches the pattern."""
        result = self(line, **more)
        if says and result.err == "" and self.may_lose_output(line):
            result = self(line, **more)
        assert result.status == status, f"wanted status {status}\n{result}"
        assert re.search(says, result.err, re.IGNORECASE), f"wanted /{says}/ on stderr\n{result}"
        return result

    @staticmethod
    def may_lose_output(line):
        """podman 4.3 with conmon 2.1, about once in a thousand runs, shows nothing of what a short
        payload has printed; with crun, too. So what is empty gets a second try."""
        return str(line).startswith("run --rm")

    @contextmanager
    def container(self, line, verb="run -d"):
        """A container in the background; removed in the end."""
        self.count += 1
        name = f"t{self.count}"
        words = shlex.split(verb) + ["--name", name] + shlex.split(line)
        try:
            self.out(words)
            yield name
        finally:
            self(f"rm -f -t 0 {name}")

    def pid(self, name):
        """The init's pid as podman knows it."""
        return int(self.out(f"inspect -f '{{{{.State.Pid}}}}' {name}"))

    def wait_for(self, line, pattern, seconds=15, **more):
        """Calls until the output matches; for what happens in the background."""
        end = time.monotonic() + seconds
        while True:
            result = self(line, **more)
            if re.search(pattern, result.out + result.err):
                return result
            assert time.monotonic() < end, f"never /{pattern}/ in {seconds} s\n{result}"
            time.sleep(0.1)

    def terminal(self, line, dialogue, size=(24, 80), argv=None, timeout=30):
        """Runs on a terminal. For each (pattern, answer) waits for the pattern, then types.

        Returns the exit status and all that was shown."""
        words, argv = (line, argv) if argv else self.argv(line)
        pid, master = pty.fork()
        if pid == 0:
            try:
                set_size(0, size)
                if not self.root:
                    os.setgroups([])
                    os.setgid(self.uid)
                    os.setuid(self.uid)
                os.chdir(self.home)
                os.execvpe(argv[0], argv, self.environment())
            finally:
                os._exit(99)
        shown, end = "", time.monotonic() + timeout
        steps, seen = list(dialogue), 0
        try:
            while True:
                left = end - time.monotonic()
                assert left > 0, f"podman {shlex.join(words)}: not done after {timeout} s, waits for {steps}\n{shown}"
                if steps and steps[0][0] == "":
                    self.type(master, steps.pop(0)[1])
                    continue
                if not select.select([master], [], [], left)[0]:
                    continue
                try:
                    data = os.read(master, 4096)
                except OSError:
                    data = b""
                if not data:
                    break
                shown += data.decode(errors="replace")
                while steps and (found := re.search(steps[0][0], shown[seen:])):
                    seen += found.end()
                    self.type(master, steps.pop(0)[1])
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        finally:
            os.close(master)
        _, status = os.waitpid(pid, 0)
        assert not steps, f"podman {shlex.join(words)}: ended and never showed {steps[0][0]!r}\n{shown}"
        return os.waitstatus_to_exitcode(status), shown

    @staticmethod
    def type(master, answer):
        if callable(answer):
            answer(master)
            return
        for key in answer:
            # podman knows its detach keys only if each comes alone.
            time.sleep(0.02 if answer < " " else 0)
            os.write(master, key.encode())

    def import_image(self):
        # podman adds a PATH where an image has none, containerd does not.
        changes = ["--change", "ENV=FROM_IMAGE=yes", "--change", "ENV=PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        changes += ["--change", "CMD=/bin/pause"]
        self.out(["import", *changes, self.room.image, "box"])
        first = self("run --rm box true")
        if "linux.seccomp" in first.err:
            print(f"# {self.who}: without seccomp, which the runtime lacks: {first.err.strip()}", flush=True)
            self.write_configs('seccomp_profile = "unconfined"')
            self.confinement = "--security-opt seccomp=unconfined"

    def folder(self, name, owner=None, mode=0o755):
        """A folder of the host, the user's own unless said."""
        self.count += 1
        path = f"{self.room.work}/{self.who}/{name}{self.count}"
        os.makedirs(path, mode)
        os.chmod(path, mode)
        os.chown(path, *(owner or (self.uid, self.uid)))
        return path

    def host_id(self, inside):
        """What an id of podman's own user namespace is on the host."""
        if self.root:
            return inside
        return self.uid if inside == 0 else rooms.SUBORDINATE[0] + inside - 1


def set_size(fd, size):
    import fcntl
    import struct
    import termios

    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))


def host_process(pid):
    """Uid and gid on the host, and the words of the command, of a process in the room."""
    status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines() if ":\t" in line)
    words = open(f"/proc/{pid}/cmdline").read().split("\0")[:-1]
    return int(status["Uid"].split()[1]), int(status["Gid"].split()[1]), words


def namespace(pid, kind):
    return os.readlink(f"/proc/{pid}/ns/{kind}")
