"""The last tests: after all others nothing is left of their containers."""

import os
import re

from case import both


@both
def no_container_is_left(p):
    p.expect("ps -aq", "")


@both
def nothing_is_left_in_the_runtimes_folder(p):
    left = [f"{path}/{name}" for path, folders, files in os.walk(p.state) for name in folders + files]
    assert not left, left


@both
def no_process_is_left(p):
    allowed = re.compile(r"^(podman|/usr/bin/podman|catatonit)( |$)|podman pause|hack/podman|^unshare ")
    left = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline").read().replace("\0", " ").strip()
        except OSError:
            continue
        if not allowed.search(words) and int(pid) != os.getpid():
            left.append(f"{pid}: {words}")
    assert not left, left


@both
def no_cgroup_is_left(p):
    left = [path for path, _, _ in os.walk("/sys/fs/cgroup") if "libpod-" in path]
    assert not left, left


@both
def no_mount_is_left(p):
    shown = p.shell("cat /proc/self/mountinfo").out
    left = [line for line in shown.splitlines() if re.search(r"/(vfs-containers|overlay-containers)/|/notify|gate", line)]
    assert not left, left
