#!/usr/bin/env python3
"""Runs podman's system tests where they are to run: in the lab's guest, or in a room of this machine. As root.

The runtime is mounted over crun, so that podman takes it for that one: what podman and its tests do for crun
alone, by its name, is then done with it, too, also where a test has a configuration of its own.

Prints TAP, a line for each test: `ok N - WORLD / FILE: NAME`. The image that the tests want of a registry is
made of the static busybox.
"""

import argparse
import ctypes
import os
import pwd
import shutil
import subprocess
import sys

import bats_inside as bats

CRUN = "/usr/bin/crun"
TAG = "20220615"
IMAGE = f"quay.io/libpod/testimage:{TAG}"
# Of a time that `run --tz` is asked for.
MADE_AT = 1600000000
FILES = """030-run 045-start 050-stop 055-rm 075-exec 080-pause 130-kill 160-volumes 170-run-userns 180-blkio
    190-run-ipcns 200-pod 260-sdnotify 280-update 400-unprivileged-access 420-cgroups 520-checkpoint"""
# The shell's own environment has more than it was given.
PRINTENV = """#!/bin/sh
cat /proc/$$/environ | tr '\\0' '\\n' | sed -n "s/^${1:+$1=}//p"
"""
PAUSE = """#!/bin/sh
echo Confirmed: testimage pause invoked as $0
while :; do sleep 0.1; done
"""
# The tests look for names of Alpine's.
GROUPS = "root:x:0:root\nusers:x:100:\nping:x:999:\nnobody:x:65534:\n"
CHANGES = ['CMD ["/bin/echo", "This container is intended for podman CI testing"]', "WORKDIR /home/podman",
           "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LABEL created_by=test/system/build-testimage"]
CONFIGURATION = {
    "containers.conf": """[containers]
pids_limit = 0
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
""",
    "storage.conf": """[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
""",
    "policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}\n',
}


def parse():
    options = argparse.ArgumentParser(prog="podman_inside.py", description=__doc__)
    options.add_argument("--suite", required=True, help="podman's source folder")
    options.add_argument("--runtime", required=True)
    options.add_argument("--user", required=True, help="who is not root")
    options.add_argument("--world", action="append", choices=["root", "user"])
    options.add_argument("--verbose", action="store_true", help="what a test prints, too, if it passes")
    options.add_argument("filter", nargs="*", help="FILE or FILE:WORDS")
    return options.parse_args()


def image_files(root):
    binary = shutil.copy(shutil.which("busybox"), os.path.join(root, "bin", "busybox"))
    names = subprocess.run([binary, "--list"], stdout=subprocess.PIPE, text=True, check=True)
    for name in names.stdout.split():
        if name != "busybox":
            os.symlink("busybox", os.path.join(root, "bin", name))
    files = {"etc/group": GROUPS, "home/podman/testimage-id": f"{TAG}\n", "home/podman/pause": PAUSE, "bin/printenv": PRINTENV}
    for path, text in files.items():
        path = os.path.join(root, path)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, 0o755)
    os.chmod(root, 0o555)
    os.utime(f"{root}/home/podman/testimage-id", (MADE_AT, MADE_AT))
    os.symlink("../proc/mounts", os.path.join(root, "etc", "mtab"))


def arrange_room():
    """What the lab's guest has by itself: a network to change, a tunnel device for all, podman's configuration."""
    CLONE_NEWNET = 0x40000000
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run("mount -t tmpfs none /mnt && mknod -m 666 /mnt/tun c 10 200 && mount --bind /mnt/tun /dev/net/tun",
                   shell=True, check=True)
    os.makedirs("/etc/containers", exist_ok=True)
    for name, text in CONFIGURATION.items():
        with open(f"/etc/containers/{name}", "w", encoding="ascii") as file:
            file.write(text)
    with open("/etc/resolv.conf", "w", encoding="ascii") as file:
        file.write("nameserver 192.0.2.1\n")


def environment(options, world, folder):
    # bats' own limit of a test would be one more background process to tests that wait for all of theirs.
    made = {"PODMAN_TEST_IMAGE_TAG": TAG, "PODMAN_TIMEOUT": str(bats.TEST_SECONDS), "TMPDIR": folder, "TERM": "xterm"}
    if not os.path.isdir("/run/systemd/system"):
        # Said on the command line, too: a test's own configuration takes the place of the file's.
        made["PODMAN"] = "podman --cgroup-manager=cgroupfs --events-backend=file"
        if world == "user":
            account = pwd.getpwnam(options.user)
            made["XDG_RUNTIME_DIR"] = f"/run/user/{account.pw_uid}"
            os.makedirs(made["XDG_RUNTIME_DIR"], mode=0o755, exist_ok=True)
            os.chmod(made["XDG_RUNTIME_DIR"], 0o700)
            os.chown(made["XDG_RUNTIME_DIR"], account.pw_uid, account.pw_gid)
    return made


def main():
    options = parse()
    work = os.path.join(options.suite, "work")
    os.mkdir(work)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", work], check=True)
    archive = os.path.join(work, "image.tar")
    bats.image(archive, "bin dev etc home/podman mnt proc root run sbin sys tmp usr/bin usr/sbin var/tmp", image_files)
    if not os.path.isdir("/run/systemd/system"):
        arrange_room()
    runtime = shutil.which(options.runtime)
    if runtime != CRUN:
        subprocess.run(["mount", "--bind", runtime, CRUN], check=True)
    report = bats.Report(options.verbose)
    tests = os.path.join(options.suite, "test", "system")
    for world in options.world or ["root"]:
        folder = os.path.join(work, world)
        os.mkdir(folder)
        os.chmod(folder, 0o1777)
        before = bats.become(options.user if world == "user" else None, environment(options, world, folder))
        changes = [word for change in CHANGES for word in ("--change", change)]
        subprocess.run([*before, "podman", "import", "--quiet", *changes, archive, IMAGE], check=True, stdout=sys.stderr, cwd=folder)
        for name in FILES.split():
            wanted = [one.partition(":")[2] for one in options.filter if name.startswith(one.partition(":")[0])]
            for words in wanted if options.filter else [""]:
                bats.run_file(report, world, os.path.join(tests, f"{name}.bats"), before, words)
    return 0


sys.exit(main())
