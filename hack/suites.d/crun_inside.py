#!/usr/bin/env python3
"""Runs crun's own tests where they are to run: in the lab's guest, or in a room of this machine. As root.

Each test has a process, a folder and a time limit of its own: some wait for ever for what a runtime does not do.
Prints TAP, a line for each test: `ok N - WORLD / FILE: NAME`.
"""

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

TEST_SECONDS = 60
RESULT = re.compile(r"(not ok|ok) 1 - \S+ ?(#SKIP)?")
# The tests' own list, without running one.
LIST = "import runpy, sys; sys.path.insert(0, sys.argv[1]); print(*runpy.run_path(sys.argv[2])['all_tests'])"
# crun says with --version what it was built with, and the tests skip what it was not. {runtime} has it all.
STAND_IN = """#!/bin/sh
for word; do [ "$word" = --version ] && echo "+SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP +EBPF +CRIU +YAJL"; done
exec {runtime} "$@"
"""


def parse():
    options = argparse.ArgumentParser(prog="crun_inside.py", description=__doc__)
    options.add_argument("--suite", required=True, help="a folder with crun's tests and their init, compiled")
    options.add_argument("--runtime", required=True)
    options.add_argument("--user", required=True, help="who is not root")
    options.add_argument("--world", action="append", choices=["root", "user"])
    options.add_argument("filter", nargs="*", help="FILE or FILE:NAME")
    return options.parse_args()


def become(options, world, place):
    """Words before a command that make it that world's, with what crun wants of a user."""
    if world == "root":
        return ["env", f"TMPDIR={place}"]
    if shutil.which("as-user"):
        return ["as-user", options.user, "env", f"TMPDIR={place}"]
    home = os.path.expanduser(f"~{options.user}")
    words = [f"HOME={home}", f"USER={options.user}", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"]
    return ["setpriv", f"--reuid={options.user}", f"--regid={options.user}", "--init-groups", "--inh-caps=-all",
            "env", *words, f"XDG_RUNTIME_DIR={place}", f"TMPDIR={place}"]  # fmt: skip


def run(options, stand_in, world, path, name):
    """The verdict, "skip" among them, and what was said."""
    place = tempfile.mkdtemp(prefix="crun-suite.")
    try:
        os.chmod(place, 0o755)
        if world == "user":
            shutil.chown(place, options.user)
        tests = [f"INIT={options.suite}/init", f"OCI_RUNTIME={stand_in}", f"RUN_TESTS={name}", "PYTHONDONTWRITEBYTECODE=1"]
        command = [*become(options, world, place), *tests, "python3", path]
        process = subprocess.Popen(command, cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
        try:
            said, _ = process.communicate(timeout=TEST_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return "not ok", f"no end in {TEST_SECONDS} s"
    finally:
        shutil.rmtree(place, ignore_errors=True)
    said = said.decode(errors="replace")
    verdict = RESULT.search(said)
    if not verdict:
        return "not ok", said
    return "skip" if verdict[2] else verdict[1], said


def names(folder, file):
    words = [sys.executable, "-B", "-c", LIST, folder, os.path.join(folder, file)]
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def main():
    options = parse()
    options.suite = os.path.abspath(options.suite)
    folder = os.path.join(options.suite, "tests")
    with tempfile.NamedTemporaryFile("w", prefix="crun-suite.", delete=False) as file:
        file.write(STAND_IN.format(runtime=shlex.quote(shutil.which(options.runtime) or options.runtime)))
        os.fchmod(file.fileno(), 0o755)
    files = sorted(name for name in os.listdir(folder) if re.fullmatch(r"test_\w+\.py", name))
    tests = [(name, test) for name in files for test in names(folder, name)
             if not options.filter or {name, f"{name}:{test}"} & set(options.filter)]  # fmt: skip
    number = 0
    try:
        for world in options.world or ["root"]:
            for name, test in tests:
                number += 1
                verdict, said = run(options, file.name, world, os.path.join(folder, name), test)
                skip = " # skip" if verdict == "skip" else ""
                print(f"{verdict if not skip else 'ok'} {number} - {world} / {name}: {test}{skip}", flush=True)
                if verdict == "not ok":
                    print("".join(f"  {line}\n" for line in said.splitlines()), end="", flush=True)
    finally:
        os.unlink(file.name)
    return 0


sys.exit(main())
