"""The machine on which engines are measured: what it has, and where the measured runtimes are."""

import functools
import os
import re
import shutil
import subprocess

import room as rooms
from case import Skip

RUNTIMES = ["rt", "crun", "runc"]


class Place:
    """A folder to work in, and the runtime that is measured. What podman.d's tests call a room."""

    def __init__(self, work, runtime):
        self.work, self.runtime = work, shutil.which(runtime)
        if not self.runtime:
            raise Skip(f"{runtime} is not installed")
        self.name, self.binary = os.path.basename(self.runtime), self.runtime
        self.rootfs, self.image = f"{work}/image", f"{work}/image.tar"
        if not os.path.exists(self.image):
            rooms.make_image(self.rootfs)


def version(program):
    """The first line that says its version, without its own name."""
    if not shutil.which(program):
        return "?"
    shown = subprocess.run([program, "--version"], stdout=subprocess.PIPE, text=True, check=False).stdout
    found = re.search(r"(\d+\.\d+\S*)", shown)
    return found[1].rstrip(",") if found else "?"


def user_mode_linux():
    return "User Mode Linux" in open("/proc/cpuinfo").read()


@functools.cache
def controllers():
    """What cgroup v2 has here for us."""
    try:
        own = re.search("^0::(.*)$", open("/proc/self/cgroup").read(), re.MULTILINE)[1]
        return open(f"/sys/fs/cgroup{own}/cgroup.controllers").read().split()
    except (OSError, TypeError):
        return []


def need_controllers(*names):
    lacking = [name for name in names if name not in controllers()]
    if lacking:
        raise Skip(f"no {', '.join(lacking)} controller here")


def need_program(*names):
    for name in names:
        if not shutil.which(name):
            raise Skip(f"{name} is not installed")


@functools.cache
def need_criu():
    need_program("criu")
    if user_mode_linux():
        raise Skip("User Mode Linux lacks what criu needs")
    said = subprocess.run(["criu", "check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if said.returncode:
        # Where criu's own configuration names a log, it says nothing here.
        words = said.stdout.strip().splitlines() or [f"exit status {said.returncode}"]
        raise Skip(f"criu check: {words[-1]}")


def need_time_namespaces():
    if user_mode_linux():
        raise Skip("User Mode Linux lacks time namespaces")
    if not os.path.exists("/proc/self/ns/time"):
        raise Skip("this kernel has no time namespaces")


def cgroup_of(pid):
    """The folder of a process's cgroup."""
    path = re.search("^0::(.*)$", open(f"/proc/{pid}/cgroup").read(), re.MULTILINE)[1]
    return f"/sys/fs/cgroup{path}"


def limits_of(pid):
    """memory.max and cpu.max of a container's cgroup, of its processes' or of the one above."""
    place = cgroup_of(pid)
    if os.path.basename(place) == "container":
        place = os.path.dirname(place)
    return [open(f"{place}/{name}").read().strip() for name in ("memory.max", "cpu.max")]


def systemd():
    return os.path.isdir("/run/systemd/system")
