"""The last tests: after all others nothing is left of their containers."""

import os
import re
import time

from case import both


@both
def no_container_is_left(p):
    p.expect("ps -aq", "")


@both
def nothing_is_left_in_the_runtimes_folder(p):
    soon_none(lambda: [f"{path}/{name}" for path, folders, files in os.walk(p.state) for name in folders + files])


@both
def no_process_is_left(p):
    soon_none(processes)


def soon_none(look):
    """What follows a container's end, podman's own clean-up too, takes its time."""
    end = time.monotonic() + 5
    while left := look():
        assert time.monotonic() < end, left
        time.sleep(0.1)


def processes():
    """All processes of the room but the tests' own and the one that keeps podman's namespaces."""
    allowed = re.compile(r"^(podman|/usr/bin/podman|catatonit)( |$)|podman pause|hack/podman|^unshare ")
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline").read().replace("\0", " ").strip()
            words = words or open(f"/proc/{pid}/stat").read()
        except OSError:
            continue
        if not allowed.search(words) and int(pid) != os.getpid():
            found.append(f"{pid}: {words}")
    return found


@both
def no_cgroup_is_left(p):
    left = [path for path, _, _ in os.walk("/sys/fs/cgroup") if "libpod-" in path]
    assert not left, left


@both
def no_mount_is_left(p):
    shown = p.shell("cat /proc/self/mountinfo").out
    left = [line for line in shown.splitlines() if re.search(r"/(vfs-containers|overlay-containers)/|/notify|gate", line)]
    assert not left, left
