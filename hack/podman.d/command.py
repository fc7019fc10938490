"""An engine's command line as the tests see it: calls with a time limit, what they print, and terminals."""

import os
import pty
import re
import select
import shlex
import signal
import subprocess
import time
from contextlib import contextmanager


class Result:
    def __init__(self, called, status, out, err):
        self.called, self.status, self.out, self.err = called, status, out, err

    def __str__(self):
        return f"{self.called}\nstatus {self.status}\nout: {self.out.strip()}\nerr: {self.err.strip()}"


class Command:
    """A program that makes containers; its subclasses say how it is called and as whom."""

    program = ""
    # The status of what the engine itself refuses.
    refusal = 125
    # The status of an exec of a program that is not there.
    missing_in_exec = 127
    # And of what the runtime refuses, where the engine finds no other.
    runtime_refusal = 126
    # What a call may take, and what is waited for.
    patience_seconds = 40

    def __init__(self, home, verbose=False):
        self.home, self.verbose = home, verbose
        self.count = 0
        self.options = []

    def argv(self, line):
        words = shlex.split(line) if isinstance(line, str) else list(line)
        return words, [self.program, *self.options, *words]

    def called(self, words):
        return f"{self.program} {shlex.join(words)}"

    def environment(self, extra=None):
        raise NotImplementedError

    def account(self):
        """As whom it is called: arguments of Popen."""
        return {}

    def __call__(self, line, stdin=None, env=None, timeout=None, pass_fds=()):
        """Runs `PROGRAM LINE`, quoted as a shell would have it."""
        words, argv = self.argv(line)
        return self.execute(words, argv, stdin, env, timeout, pass_fds)

    def execute(self, words, argv, stdin=None, env=None, timeout=None, pass_fds=()):
        started, timeout = time.monotonic(), timeout or self.patience_seconds
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
            raise AssertionError(f"{self.called(words)}: not done after {timeout} s\n{out}{err}") from None
        if self.verbose:
            print(f"  # {time.monotonic() - started:.2f} s, {child.returncode}: {shlex.join(words)}", flush=True)
        return Result(self.called(words), child.returncode, out, err)

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
        assert same, f"{self.program} {line}\nwanted: {wanted!r}\ngot: {got!r}"
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

    def wait_for(self, line, pattern, seconds=None, **more):
        """Calls until the output matches; for what happens in the background."""
        seconds = seconds or self.patience_seconds / 2
        end = time.monotonic() + seconds
        while True:
            result = self(line, **more)
            if re.search(pattern, result.out + result.err):
                return result
            assert time.monotonic() < end, f"never /{pattern}/ in {seconds} s\n{result}"
            time.sleep(0.1)

    def terminal(self, line, dialogue, size=(24, 80), argv=None, timeout=None):
        """Runs on a terminal. For each (pattern, answer) waits for the pattern, then types.

        Returns the exit status and all that was shown."""
        words, argv = (line, argv) if argv else self.argv(line)
        pid, master = pty.fork()
        if pid == 0:
            try:
                set_size(0, size)
                if account := self.account():
                    os.setgroups(account["extra_groups"])
                    os.setgid(account["group"])
                    os.setuid(account["user"])
                os.chdir(self.home)
                os.execvpe(argv[0], argv, self.environment())
            finally:
                os._exit(99)
        timeout = timeout or self.patience_seconds
        shown, end = "", time.monotonic() + timeout
        steps, seen = list(dialogue), 0
        try:
            while True:
                left = end - time.monotonic()
                assert left > 0, f"{self.called(words)}: not done after {timeout} s, waits for {steps}\n{shown}"
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
        assert not steps, f"{self.called(words)}: ended and never showed {steps[0][0]!r}\n{shown}"
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
