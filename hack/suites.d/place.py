"""Where a suite runs: in the virtual machine of hack/vm, or in a room of this machine."""

import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import room

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
SKIPPED = 77
MEMORY_MIB = 3072


def rt(options):
    if options.rt:
        return os.path.realpath(options.rt)
    built = [path for kind in ["release", "debug"] for path in glob.glob(f"{TREE}/target/**/{kind}/rt", recursive=True)]
    if not built:
        sys.exit("hack/suites: rt is not built: hack/build")
    return max(built, key=os.path.getmtime)


def run(options, suite, source, read):
    """Runs it to its end, each line of output given to `read`; returns its status."""
    work = tempfile.mkdtemp(prefix="rt-suites.")
    os.chmod(work, 0o755)
    try:
        suite.stage(source, work)
        if options.here:
            return here(options, work, read)
        runtime, programs = options.runtime or "rt", []
        if not options.runtime or "/" in options.runtime:
            runtime = os.path.basename(options.runtime or "rt")
            programs = ["--program", f"{runtime}={options.runtime or rt(options)}"]
        inside = suite.command("/src", runtime, "lab", options.world, options.filter)
        machine = [os.path.join(TREE, "hack", "vm"), "--engine", options.engine, "--limit", str(options.limit),
                   "--memory", str(MEMORY_MIB), "--tree", work, *programs, "--", *inside]
        return stream(machine, read, options.limit, subprocess.Popen.terminate)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def stream(words, read, limit_seconds, end):
    """Each line of a command's output goes to `read`; `end` takes the command down at its limit and with us."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace") as command:
        limit = threading.Timer(limit_seconds, end, [command])
        limit.start()
        try:
            for line in command.stdout:
                read(line.rstrip("\n"))
            command.wait()
        finally:
            limit.cancel()
            end(command)
    return command.returncode


def here(options, work, read):
    """In namespaces of its own, its cgroup one that is made for it; only root can."""
    if os.geteuid() != 0:
        print("skipped: --here needs root")
        return SKIPPED
    if "RT_SUITES_APART" not in os.environ:
        # The cgroup's mount below is not for the rest of the machine.
        os.environ["RT_SUITES_APART"] = "1"
        shutil.rmtree(work)
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    cgroup = None
    try:
        with open(os.path.join(work, "runtime"), "w", encoding="utf-8") as file:
            file.write(shutil.which(options.runtime) if options.runtime else rt(options))
        cgroup = room.make_cgroup(work)
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--ipc", "--propagation", "shared"]
        # Its death takes the pid namespace with it.
        return stream([*apart, sys.executable, *sys.argv, "--inside", work], read, options.limit, subprocess.Popen.kill)
    finally:
        if cgroup:
            room.remove_cgroup(cgroup)
            subprocess.run(["umount", f"{work}/cgroup2"], check=False)


def enter(options, suite):
    """Inside the room: its mounts, its user, and the suite."""
    inside = room.enter(options.inside)
    words = suite.command(options.inside, inside.runtime, room.USER, options.world, options.filter)
    # Tests write into the folder they begin in.
    return subprocess.run(words, cwd=options.inside, check=False).returncode
