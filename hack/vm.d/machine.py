"""One run: what is sent into the guest, and what comes back."""

import ctypes
import io
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

import engines

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.05
CONSOLE_BYTES_SHOWN = 4096


class TimeLimit(Exception):
    """The run took longer than it may."""


class Broken(Exception):
    """The machine ended without a word about the command; the text is the end of its console."""


def dies_with_us():
    """In a child before execve: it gets SIGKILL when we end, however we end."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Run:
    """A machine, from its start to its end; a context manager that leaves nothing behind."""

    def __init__(self, lab, tree, account="root", programs=(), memory_mib=2048, keep=False, console=None):
        self.lab, self.tree, self.account = lab, os.path.realpath(tree), account
        self.programs, self.memory_mib, self.keep = programs, memory_mib, keep
        self.console = console
        self.console_end = b""
        self.processes = []

    def __enter__(self):
        self.scratch = tempfile.mkdtemp(prefix="rt-vm.")
        self.channel = os.path.join(self.scratch, "channel")
        os.mkdir(self.channel)
        for name in ["output", "status"]:
            with open(os.path.join(self.channel, name), "wb"):
                pass
        self.parcel = os.path.join(self.scratch, "parcel.tar")
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def start(self, command, environment=None, output=subprocess.PIPE):
        # A session of its own: Ctrl-C is ours to handle.
        # pylint: disable=subprocess-popen-preexec-fn,consider-using-with
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                   env={**os.environ, **(environment or {})}, start_new_session=True,
                                   preexec_fn=dies_with_us)
        self.processes.append(process)
        return process

    def pack(self, engine, command):
        """Writes the parcel: a tar archive that the guest unpacks over its root folder."""
        settings = {"ENGINE": engine, "ACCOUNT": self.account, "TREE": self.tree,
                    "CHANNEL": self.channel, "KEEP": "yes" if self.keep else "no"}
        lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items())
        with tarfile.open(self.parcel, "w") as parcel:
            add_text(parcel, "run/job/settings", lines)
            add_text(parcel, "run/job/command", f"exec {shlex.join(command)}\n")
            for name, path in self.programs:
                parcel.add(path, f"usr/local/bin/{name}", filter=owned_by_root)

    def execute(self, engine, command, limit_seconds, sink):
        """Runs the command to its end, its output to sink; returns its status."""
        deadline = time.monotonic() + limit_seconds
        self.pack(engine, command)
        machine = engines.ENGINES[engine](self)
        console = machine.stdout.fileno()
        os.set_blocking(console, False)
        with open(os.path.join(self.channel, "output"), "rb") as output:
            ended = False
            while not ended:
                # Before the last look at the output: what comes later than that is none of it.
                ended = machine.poll() is not None
                self.read_console(console)
                shutil.copyfileobj(output, sink)
                sink.flush()
                if not ended and time.monotonic() > deadline:
                    raise TimeLimit
        with open(os.path.join(self.channel, "status"), encoding="ascii") as file:
            status = file.read().strip()
        if not status:
            raise Broken(self.console_end.decode(errors="replace"))
        return int(status)

    def read_console(self, console):
        """Waits a moment for words of the console, and takes them."""
        if not select.select([console], [], [], POLL_SECONDS)[0]:
            return
        said = os.read(console, 65536)
        if not said:
            # Closed, by the machine's end or just before it.
            time.sleep(POLL_SECONDS)
            return
        if self.console:
            self.console.write(said)
            self.console.flush()
        self.console_end = (self.console_end + said)[-CONSOLE_BYTES_SHOWN:]


def add_text(parcel, name, text):
    entry = tarfile.TarInfo(name)
    content = text.encode()
    entry.size, entry.mode, entry.mtime = len(content), 0o644, int(time.time())
    parcel.addfile(entry, io.BytesIO(content))


def owned_by_root(entry):
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o755
    return entry


def first_boot(lab):
    """Finishes a freshly built lab: both users get the image into their storage."""
    here = os.path.dirname(os.path.realpath(__file__))
    for account in ["root", "lab"]:
        print(f"lab: first boot as {account}", file=sys.stderr)
        said = io.BytesIO()
        with Run(lab, here, account, keep=True) as run:
            status = run.execute("tcg", ["/src/first-boot"], 900, said)
        if status:
            raise Broken(said.getvalue().decode(errors="replace"))
    # It was not unmounted in good order for sure, and will be mounted without a journal for ever.
    checked = subprocess.run(["e2fsck", "-fp", os.path.join(lab, "root.img")], stdout=subprocess.DEVNULL, check=False)
    if checked.returncode > 1:
        raise Broken("the lab's file system is damaged after its first boot")
