"""The room in which podman runs: its own mount, pid and cgroup namespaces, its own user.

`host` runs outside as root, makes what has to be made there (a folder, a cgroup) and takes it
away again. `enter` runs inside. Nothing else of the machine is changed: the account is a line
in a copy of /etc, which is bound over it in here alone.
"""

import ctypes
import glob
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import foresight

USER = "rt-podman"
# Any user and group ids that nobody has; the subordinate ones are ids of the kernel alone.
USER_ID = 48217
CLONE_NEWCGROUP = 0x02000000
SUBORDINATE = (48_300_000, 65536)
# What has to be empty in here, whoever else runs podman on this machine.
PRIVATE = ["/run", "/dev/shm", "/var/lib/containers", "/var/lib/cni"]


class Room:
    """What the tests have to know of their surroundings."""

    def __init__(self, work):
        self.work = work
        self.runtime = open(f"{work}/runtime").read()
        self.binary = foresight.behind(work, self.runtime)
        self.image = f"{work}/image.tar"
        self.rootfs = f"{work}/image"


def lacking():
    """Why podman cannot be tested here, or None."""
    if os.getuid() != 0:
        return "not root: the cgroup and the mounts of the tests' own need it"
    for program in ["podman", "conmon", "newuidmap", "busybox", "unshare", "setpriv"]:
        if not shutil.which(program):
            return f"{program} is not installed"
    if b"/ld-linux" in open(shutil.which("busybox"), "rb").read():
        return "busybox is not the static one"
    return None


def newest_rt():
    tree = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    built = glob.glob(f"{tree}/target/release/rt") + glob.glob(f"{tree}/target/*/release/rt")
    if not built:
        sys.exit("hack/podman: rt is not built: hack/build")
    return max(built, key=os.path.getmtime)


def make_image(root):
    """A root file system of busybox, and one archive of it."""
    for directory in "bin dev etc home proc root run sys tmp usr/bin var/tmp".split():
        os.makedirs(f"{root}/{directory}")
    os.chmod(f"{root}/tmp", 0o1777)
    os.chmod(f"{root}/root", 0o700)
    shutil.copy(shutil.which("busybox"), f"{root}/bin/busybox")
    names = subprocess.run([f"{root}/bin/busybox", "--list"], stdout=subprocess.PIPE, text=True, check=True)
    for name in names.stdout.split():
        if name != "busybox":
            os.symlink("busybox", f"{root}/bin/{name}")
    with open(f"{root}/bin/pause", "w") as file:
        file.write("#!/bin/sh\nexec sleep 1000\n")
    os.chmod(f"{root}/bin/pause", 0o755)
    files = {
        "passwd": "root:x:0:0:root:/root:/bin/sh\nguest:x:100:101:guest:/home:/bin/sh\n",
        "group": "root:x:0:\nguest:x:101:\nfriends:x:102:guest\n",
        "not-a-program": "data\n",
    }
    for name, text in files.items():
        with open(f"{root}/etc/{name}", "w") as file:
            file.write(text)
    subprocess.run(["tar", "-C", root, "--owner=0", "--group=0", "--numeric-owner", "-cf", f"{root}.tar", "."], check=True)


def make_cgroup(work):
    """A cgroup of the unified hierarchy for all that runs in the room."""
    mount = f"{work}/cgroup2"
    os.mkdir(mount)
    subprocess.run(["mount", "-t", "cgroup2", "none", mount], check=True)
    cgroup = f"{mount}/{os.path.basename(work)}"
    os.mkdir(cgroup)
    return cgroup


def remove_cgroup(cgroup):
    """Returns the names of the cgroups that the tests left below theirs."""
    left = []
    for path, _, _ in os.walk(cgroup, topdown=False):
        if path != cgroup:
            left.append(os.path.relpath(path, cgroup))
        for _ in range(100):
            try:
                os.rmdir(path)
                break
            except OSError:
                time.sleep(0.02)
    return left


def host(options, command):
    """Makes the room, runs the tests in it, takes it away. Returns the exit status."""
    runtime = shutil.which(options.runtime) if options.runtime else newest_rt()
    if not runtime:
        sys.exit(f"hack/podman: there is no runtime {options.runtime}")
    if "RT_PODMAN_APART" not in os.environ:
        # The cgroup's mount below is not for the rest of the machine.
        os.environ["RT_PODMAN_APART"] = "1"
        apart = ["unshare", "--mount", "--propagation", "private", sys.executable]
        os.execvp(apart[0], apart + command)
    work = tempfile.mkdtemp(prefix="rt-podman.")
    os.chmod(work, 0o755)
    cgroup = None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        make_image(f"{work}/image")
        os.mkdir(f"{work}/bin", 0o755)
        own = shutil.copy(runtime, f"{work}/bin/{os.path.basename(runtime)}")
        if options.check:
            foresight.install(work, own)
        with open(f"{work}/runtime", "w") as file:
            file.write(own)
        cgroup = make_cgroup(work)
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--ipc"]
        apart += ["--propagation", "shared", sys.executable]
        room = subprocess.Popen(apart + command + ["--inside", work], stdin=subprocess.DEVNULL)
        try:
            return room.wait(timeout=options.limit)
        except subprocess.TimeoutExpired:
            print(f"not ok - all within {options.limit} seconds\n0 passed, 1 failed, 0 skipped", flush=True)
            return 1
        finally:
            # Its death takes the pid namespace with it.
            room.kill()
            room.wait()
    finally:
        if cgroup:
            remove_cgroup(cgroup)
            subprocess.run(["umount", f"{work}/cgroup2"], check=False)
        shutil.rmtree(work, ignore_errors=True)


def become_a_child_of_a_reaper():
    """Process 1 of the room only waits: for the child that returns from here, and for whatever
    the engines leave to it."""
    child = os.fork()
    if child == 0:
        return
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def enter_cgroup(cgroup):
    """Makes the cgroup the root of a cgroup namespace, and goes into one below it: a cgroup that
    has processes passes no controllers on."""
    with open(f"{cgroup}/cgroup.procs", "w") as file:
        file.write("0")
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWCGROUP) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWCGROUP)")
    subprocess.run(["mount", "-t", "cgroup2", "none", "/sys/fs/cgroup"], check=True)
    os.mkdir("/sys/fs/cgroup/tests")
    with open("/sys/fs/cgroup/tests/cgroup.procs", "w") as file:
        file.write("0")
    # Delegated to the user as systemd does it; root's podman has its own beside it.
    for place in ["/sys/fs/cgroup", "/sys/fs/cgroup/tests"]:
        for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]:
            os.chown(f"{place}/{file}", USER_ID, USER_ID)


def enter(work):
    """Inside: makes the room's mounts and its user."""
    become_a_child_of_a_reaper()
    enter_cgroup(f"{work}/cgroup2/{os.path.basename(work)}")
    for place in filter(os.path.isdir, PRIVATE):
        mode = oct(os.stat(place).st_mode & 0o7777)[2:]
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode={mode}", "none", place], check=True)
    make_account(work)
    return Room(work)


def make_account(work):
    first, count = SUBORDINATE
    lines = {
        "passwd": f"{USER}:x:{USER_ID}:{USER_ID}::{work}/home:/bin/sh\n",
        "group": f"{USER}:x:{USER_ID}:\n",
        "subuid": f"{USER}:{first}:{count}\ncontainers:{first + count}:{count}\n",
        "subgid": f"{USER}:{first}:{count}\ncontainers:{first + count}:{count}\n",
    }
    # The whole folder: a file that is bound on /etc/passwd is gone as soon as anybody on the
    # machine replaces that.
    subprocess.run(["cp", "-a", "/etc", f"{work}/etc"], check=True)
    for name, line in lines.items():
        with open(f"{work}/etc/{name}", "a") as file:
            file.write(line)
        os.chmod(f"{work}/etc/{name}", 0o644)
    subprocess.run(["mount", "--bind", f"{work}/etc", "/etc"], check=True)
    account = pwd.getpwnam(USER)
    for place in [f"{work}/home", f"{work}/run", f"{work}/user"]:
        os.mkdir(place, 0o700)
        os.chown(place, account.pw_uid, account.pw_gid)
