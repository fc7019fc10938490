"""crun's own tests, programs in Python that run containers with a small init in C."""

import os
import shutil
import subprocess
import tempfile

PACKAGE, RELEASE = "crun", "trixie"
WORLDS = {"root": "root", "user": "an ordinary user with subordinate ids"}
HERE = ["root", "user"]
MODULES = os.path.dirname(os.path.realpath(__file__))
# What crun's configure would find out; the init speaks to the kernel alone.
CONFIG = "#define HAVE_ERROR_H 1\n#define HAVE_LINUX_IOPRIO_H 1\n#define HAVE_SECCOMP 1\n"


def stage(source, to):
    tests = os.path.join(source, "tests")
    if not os.path.exists(os.path.join(tests, "tests_utils.py")):
        raise FileNotFoundError(f"{source} has no tests/tests_utils.py: it is no source of crun")
    shutil.copytree(tests, os.path.join(to, "tests"))
    shutil.copy(os.path.join(MODULES, "crun_inside.py"), to)
    # Debian has no such module for each Python, and without it the tests of mounts are passed over.
    shutil.copy(os.path.join(MODULES, "crun_libmount.py"), os.path.join(to, "tests", "libmount.py"))
    with tempfile.TemporaryDirectory() as work:
        with open(os.path.join(work, "config.h"), "w", encoding="ascii") as file:
            file.write(CONFIG)
        compiler = ["cc", "-static", "-O1", "-w", f"-I{work}", "-o", os.path.join(to, "init")]
        subprocess.run([*compiler, os.path.join(tests, "init.c")], check=True)


def command(folder, runtime, user, worlds, filters):
    words = ["python3", os.path.join(folder, "crun_inside.py"), "--suite", folder, "--runtime", runtime, "--user", user]
    return words + [word for world in worlds for word in ("--world", world)] + ["--", *filters]
