"""podman's system tests, which are written for bats: those of their files that touch the runtime."""

import os
import shutil

PACKAGE, RELEASE = "libpod", "bookworm"
WORLDS = {"root": "root", "user": "an ordinary user with subordinate ids"}
HERE = list(WORLDS)
MODULES = os.path.dirname(os.path.realpath(__file__))


def stage(source, to):
    if not os.path.isdir(os.path.join(source, "test", "system")):
        raise FileNotFoundError(f"{source} has no test/system: it is no source of podman")
    shutil.copytree(os.path.join(source, "test", "system"), os.path.join(to, "test", "system"))
    for name in ["bats_inside.py", "podman_inside.py"]:
        shutil.copy(os.path.join(MODULES, name), to)


def command(folder, runtime, user, worlds, filters):
    words = ["python3", os.path.join(folder, "podman_inside.py"), "--suite", folder, "--runtime", runtime, "--user", user]
    return words + [word for world in worlds for word in ("--world", world)] + ["--", *filters]
