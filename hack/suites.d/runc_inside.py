#!/usr/bin/env python3
"""Runs runc's tests where they are to run: in the lab's guest, or in a room of this machine. As root.

Prints TAP, a line for each test: `ok N - WORLD / FILE: NAME`. Images are made of what is installed here: a
busybox one of the static busybox, and a small Debian of this system's own programs and their libraries.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

import bats_inside as bats

HERE = os.path.dirname(os.path.realpath(__file__))
PROGRAMS = os.path.join(HERE, "runc_programs.py")
DEBIAN_FOLDERS = "bin dev etc home lib lib64 mnt opt proc root run sbin sys tmp usr/bin usr/sbin var/tmp"
DEBIAN = """bash cat chgrp chmod chown chrt cp cut echo env false find findmnt getent grep head id ionice ldconfig ln ls
    mkdir mknod mount mv nproc ps pwd readlink rm rmdir sed sh sleep sort stat tail taskset tee test touch tr true
    umount uname unshare wc xargs"""
# The suite trusts that its background programs listen in time, which no slow machine can promise.
WAIT_FOR_SOCKETS = """
eval "$(declare -f setup_recvtty | sed '1s/setup_/begin_/')"
eval "$(declare -f setup_seccompagent | sed '1s/setup_/begin_/')"
setup_recvtty() { begin_recvtty || return; until [ -S "$CONSOLE_SOCKET" ]; do sleep 0.02; done; }
setup_seccompagent() { begin_seccompagent; until [ -S "$SECCCOMP_AGENT_SOCKET" ]; do sleep 0.02; done; }
"""
# Account, and what runc's tests/rootless.sh calls features.
WORLDS = {
    "root": ("root", False, ""),
    "root-systemd": ("root", True, ""),
    "user": ("user", False, ""),
    "user-cgroup": ("user", False, "idmap+cgroup"),
    "user-systemd": ("user", True, "idmap"),
}


def parse():
    options = argparse.ArgumentParser(prog="runc_inside.py", description=__doc__)
    options.add_argument("--suite", required=True, help="runc's source folder")
    options.add_argument("--runtime", required=True)
    options.add_argument("--user", help="who is not root")
    options.add_argument("--world", action="append", choices=list(WORLDS))
    options.add_argument("--verbose", action="store_true", help="what a test prints, too, if it passes")
    options.add_argument("filter", nargs="*", help="FILE or FILE:WORDS")
    return options.parse_args()


def stage(suite, work):
    """A copy of the tests alone, with programs and images."""
    tests = os.path.join(work, "tests")
    shutil.copytree(os.path.join(suite, "tests"), tests)
    shutil.copy(os.path.join(suite, "go.mod"), work)
    binaries = os.path.join(tests, "cmd", "_bin")
    os.makedirs(binaries, exist_ok=True)
    shutil.copy(PROGRAMS, os.path.join(binaries, "programs"))
    os.chmod(os.path.join(binaries, "programs"), 0o755)
    for name in "fs-idmap key_label pidfd-kill recvtty remap-rootfs sd-helper seccompagent".split():
        if not os.path.exists(os.path.join(binaries, name)):
            os.symlink("programs", os.path.join(binaries, name))
    busybox, debian = os.path.join(work, "busybox.tar"), os.path.join(work, "debian.tar")
    bats.image(busybox, "bin dev etc home root tmp usr var/tmp", busybox_files)
    bats.image(debian, DEBIAN_FOLDERS, debian_files)
    with open(os.path.join(tests, "integration", "get-images.sh"), "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\necho BUSYBOX_IMAGE={busybox}\necho DEBIAN_IMAGE={debian}\n")
    with open(os.path.join(tests, "integration", "helpers.bash"), "a", encoding="utf-8") as file:
        file.write(WAIT_FOR_SOCKETS)
    return os.path.join(tests, "integration")


def busybox_files(root):
    binary = os.path.join(root, "bin", "busybox")
    shutil.copy(shutil.which("busybox"), binary)
    names = subprocess.run([binary, "--list"], stdout=subprocess.PIPE, text=True, check=True)
    for name in names.stdout.split():
        if name != "busybox":
            # Not symbolic: tests change the mode of one of them.
            os.link(binary, os.path.join(root, "bin", name))


def debian_files(root):
    for name in DEBIAN.split():
        path = shutil.which(name)
        if not path:
            continue
        shutil.copy(path, os.path.join(root, "bin", name))
        os.symlink(f"../../bin/{name}", os.path.join(root, "usr", "bin", name))
        listed = subprocess.run(["ldd", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        for library in re.findall(r"(/\S+) \(0x", listed.stdout):
            folder = "lib64" if library.startswith("/lib64/") else "lib"
            shutil.copy(library, os.path.join(root, folder, os.path.basename(library)))
    os.symlink("../bin/ldconfig", os.path.join(root, "sbin", "ldconfig"))


def environment(options, world, folder):
    _, systemd, features = WORLDS[world]
    made = {"RUNC": options.runtime, "TMPDIR": folder}
    if systemd:
        made["RUNC_USE_SYSTEMD"] = "yes"
    if features:
        made["ROOTLESS_FEATURES"] = features
    if "idmap" in features:
        for kind, file in [("UID", "/etc/subuid"), ("GID", "/etc/subgid")]:
            start, count = subordinate(file, options.user)
            made[f"ROOTLESS_{kind}MAP_START"], made[f"ROOTLESS_{kind}MAP_LENGTH"] = start, count
        # For cwd.bats: a folder of an id that is 1024 in the container, where 1000 is the first subordinate one.
        outer = os.path.join(folder, "aux")
        os.makedirs(outer, exist_ok=True)
        os.chown(outer, int(made["ROOTLESS_UIDMAP_START"]) + 24, -1)
        made["ROOTLESS_AUX_DIR"], made["ROOTLESS_AUX_UID"] = outer, "1024"
    return made


def subordinate(file, user):
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            name, start, count = line.strip().split(":")
            if name == user:
                return start, count
    sys.exit(f"{file} has no line of {user}")


def delegate(user):
    """What runc's tests/rootless.sh gives its user of the cgroups."""
    base = "/sys/fs/cgroup"
    own = os.path.join(base, "runc-cgroups-integration-test")
    with open(f"{base}/cgroup.controllers", encoding="ascii") as file:
        controllers = file.read().split()
    for controller in controllers:
        try:
            with open(f"{base}/cgroup.subtree_control", "w", encoding="ascii") as file:
                file.write(f"+{controller}")
        except OSError as error:
            print(f"# {controller} is not passed on: {error.strerror}")
    os.makedirs(own, exist_ok=True)
    for path in [own, f"{own}/cgroup.subtree_control", f"{own}/cgroup.procs", f"{base}/cgroup.procs"]:
        shutil.chown(path, "root", user)
        os.chmod(path, os.stat(path).st_mode | 0o070 if path == own else 0o664)


def main():
    options = parse()
    work = os.path.join(options.suite, "work")
    os.mkdir(work)
    # Extracting an image is most of a test's time.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", work], check=True)
    folder = stage(options.suite, work)
    files = sorted(name for name in os.listdir(folder) if name.endswith(".bats"))
    report = bats.Report(options.verbose)
    for world in options.world or ["root"]:
        place = os.path.join(work, world)
        os.mkdir(place, 0o755)
        variables = environment(options, world, place)
        if WORLDS[world][0] == "user":
            shutil.chown(place, options.user, options.user)
            if "cgroup" in WORLDS[world][2]:
                delegate(options.user)
        before = bats.become(options.user if WORLDS[world][0] == "user" else None, variables)
        for name in files:
            wanted = [one.partition(":")[2] for one in options.filter if name.startswith(one.partition(":")[0])]
            for words in wanted if options.filter else [""]:
                bats.run_file(report, world, os.path.join(folder, name), before, words)
    return 0


sys.exit(main())
