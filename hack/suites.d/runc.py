"""runc's integration tests, which are written for bats."""

import os
import shutil

PACKAGE, RELEASE = "runc", "sid"
WORLDS = {
    "root": "root, cgroupfs",
    "root-systemd": "root, systemd makes the cgroups",
    "user": "an ordinary user without subordinate ids and cgroups",
    "user-cgroup": "an ordinary user with subordinate ids, and a cgroup of his own",
    "user-systemd": "an ordinary user with subordinate ids, his systemd makes the cgroups",
}
HERE = ["root", "user"]
MODULES = os.path.dirname(os.path.realpath(__file__))


def stage(source, to):
    if not os.path.isdir(os.path.join(source, "tests", "integration")):
        raise FileNotFoundError(f"{source} has no tests/integration: it is no source of runc")
    # go.mod has the version of the specification that `spec` is held against.
    for name in ["tests", "go.mod", "VERSION"]:
        path = os.path.join(source, name)
        copy = shutil.copytree if os.path.isdir(path) else shutil.copy
        copy(path, os.path.join(to, name))
    for name in ["bats_inside.py", "runc_inside.py", "runc_programs.py"]:
        shutil.copy(os.path.join(MODULES, name), to)


def command(folder, runtime, user, worlds, filters):
    words = ["python3", os.path.join(folder, "runc_inside.py"), "--suite", folder, "--runtime", runtime, "--user", user]
    return words + [word for world in worlds for word in ("--world", world)] + ["--", *filters]
