#!/usr/bin/env python3
"""Runs runc's tests where they are to run: in the lab's guest, or in a room of this machine. As root.

Prints TAP, a line for each test: `ok N - WORLD / FILE: NAME`. Images are made of what is installed here: a
busybox one of the static busybox, and a small Debian of this system's own programs and their libraries.
"""

import argparse
import fcntl
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading

HERE = os.path.dirname(os.path.realpath(__file__))
PROGRAMS = os.path.join(HERE, "runc_programs.py")
# Not by bats' own limit, which is a child of the test's shell: tests `wait` for all of these.
TEST_SECONDS, AFTER_THE_LAST = 300, 20
PLAN = re.compile(r"^1\.\.(\d+)$")
RESULT = re.compile(r"^(ok|not ok) \d+ (.*?)(?: # skip ?(.*))?$")
DEBIAN_FOLDERS = "bin dev etc home lib lib64 mnt opt proc root run sbin sys tmp usr/bin usr/sbin var/tmp"
ACCOUNTS = {
    "passwd": ["root:x:0:0:root:/root:/bin/sh", "daemon:x:1:1:daemon:/usr/sbin:/bin/false",
               "www-data:x:33:33:www-data:/var/www:/bin/false", "nobody:x:65534:65534:nobody:/home:/bin/false"],
    "group": ["root:x:0:", "daemon:x:1:", "tty:x:5:", "www-data:x:33:", "nogroup:x:65534:"],
}  # fmt: skip
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
    image(busybox, "bin dev etc home root tmp usr var/tmp", busybox_files)
    image(debian, DEBIAN_FOLDERS, debian_files)
    with open(os.path.join(tests, "integration", "get-images.sh"), "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\necho BUSYBOX_IMAGE={busybox}\necho DEBIAN_IMAGE={debian}\n")
    with open(os.path.join(tests, "integration", "helpers.bash"), "a", encoding="utf-8") as file:
        file.write(WAIT_FOR_SOCKETS)
    return os.path.join(tests, "integration")


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


def become(options, world, variables):
    """Words before a command that make it that world's."""
    words = ["env", *(f"{name}={value}" for name, value in variables.items())]
    if WORLDS[world][0] == "root":
        return words
    if shutil.which("as-user"):
        return ["as-user", options.user, *words]
    home = os.path.expanduser(f"~{options.user}")
    return ["setpriv", f"--reuid={options.user}", f"--regid={options.user}", "--init-groups", "--inh-caps=-all",
            "env", f"HOME={home}", f"USER={options.user}", *words[1:]]


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


def main():
    options = parse()
    work = os.path.join(options.suite, "work")
    os.mkdir(work)
    # Extracting an image is most of a test's time.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", work], check=True)
    folder = stage(options.suite, work)
    files = sorted(name for name in os.listdir(folder) if name.endswith(".bats"))
    report = Report(options.verbose)
    for world in options.world or ["root"]:
        place = os.path.join(work, world)
        os.mkdir(place, 0o755)
        variables = environment(options, world, place)
        if WORLDS[world][0] == "user":
            shutil.chown(place, options.user, options.user)
            if "cgroup" in WORLDS[world][2]:
                delegate(options.user)
        before = become(options, world, variables)
        for name in files:
            wanted = [one.partition(":")[2] for one in options.filter if name.startswith(one.partition(":")[0])]
            for words in wanted if options.filter else [""]:
                run_file(report, world, os.path.join(folder, name), before, words)
    return 0


sys.exit(main())
