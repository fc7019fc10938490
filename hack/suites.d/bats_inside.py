"""What the suites for bats share: accounts, images, and bats' own output as a line for each test."""

import fcntl
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import termios
import threading

# Not by bats' own limit, which is a child of the test's shell: tests `wait` for all of these.
TEST_SECONDS, AFTER_THE_LAST = 300, 20
PLAN = re.compile(r"^1\.\.(\d+)$")
RESULT = re.compile(r"^(ok|not ok) \d+ (.*?)(?: # skip ?(.*))?$")
ACCOUNTS = {
    "passwd": ["root:x:0:0:root:/root:/bin/sh", "daemon:x:1:1:daemon:/usr/sbin:/bin/false",
               "www-data:x:33:33:www-data:/var/www:/bin/false", "nobody:x:65534:65534:nobody:/home:/bin/false"],
    "group": ["root:x:0:", "daemon:x:1:", "tty:x:5:", "www-data:x:33:", "nogroup:x:65534:"],
}  # fmt: skip


def image(archive, folders, fill):
    with tempfile.TemporaryDirectory() as root:
        for folder in folders.split():
            os.makedirs(os.path.join(root, folder), exist_ok=True)
        os.chmod(root, 0o755)
        os.chmod(os.path.join(root, "tmp"), 0o1777)
        for name, lines in ACCOUNTS.items():
            with open(os.path.join(root, "etc", name), "w", encoding="ascii") as file:
                file.write("\n".join(lines) + "\n")
        fill(root)
        subprocess.run(["tar", "-C", root, "--owner=0", "--group=0", "--numeric-owner", "-cf", archive, "."], check=True)


def become(user, variables):
    """Words before a command that make it that user's; root's, if there is none."""
    words = ["env", *(f"{name}={value}" for name, value in variables.items())]
    if not user:
        return words
    if shutil.which("as-user"):
        return ["as-user", user, *words]
    home = os.path.expanduser(f"~{user}")
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--inh-caps=-all",
            "env", f"HOME={home}", f"USER={user}", *words[1:]]


class Report:
    def __init__(self, verbose):
        self.verbose, self.number, self.failing = verbose, 0, False

    def line(self, world, file, said):
        if result := RESULT.match(said):
            self.number += 1
            verdict, name, skip = result.groups()
            self.failing = verdict == "not ok"
            reason = f" # skip {skip}" if skip is not None else ""
            print(f"{verdict} {self.number} - {world} / {file}: {name}{reason}", flush=True)
        elif (self.failing or self.verbose) and said and not said.startswith("1.."):
            print(f"  {said}", flush=True)


def run_file(report, world, path, before, words):
    chosen = ["--filter", words] if words else []
    command = [*before, "bats", "--tap", *chosen, path]
    # `run` without a console socket wants a terminal, and so would an engineer have had one.
    master, terminal = os.openpty()
    process = subprocess.Popen(command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               cwd=os.path.dirname(path), preexec_fn=own_terminal)
    os.close(terminal)
    threading.Thread(target=drain, args=(master,), daemon=True).start()
    if not read_all(process, lambda said: report.line(world, os.path.basename(path), said)):
        report.line(world, os.path.basename(path), "not ok 0 has come to an end")
    process.wait()


def read_all(process, take):
    """Gives each line to `take`, until the end or until none may be expected; tells whether all tests have ended.

    What a test left behind may hold the pipe, and itself hang, for ever; then all of it is ended here.
    """
    rest, planned, seen = b"", None, 0
    while True:
        patience = AFTER_THE_LAST if seen == planned else TEST_SECONDS + AFTER_THE_LAST
        ready, _, _ = select.select([process.stdout], [], [], patience)
        content = os.read(process.stdout.fileno(), 65536) if ready else b""
        if not content:
            os.killpg(process.pid, signal.SIGKILL)
            return seen == planned
        *lines, rest = (rest + content).split(b"\n")
        for line in lines:
            said = line.decode(errors="replace")
            if plan := PLAN.match(said):
                planned = int(plan[1])
            seen += RESULT.match(said) is not None
            take(said)


def own_terminal():
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def drain(master):
    try:
        while os.read(master, 65536):
            pass
    except OSError:
        # Its other end is closed.
        os.close(master)
