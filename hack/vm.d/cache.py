"""Where a built lab lies, and how it comes to lie there."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import time

import engines
import machine

HERE = os.path.dirname(os.path.realpath(__file__))
# What goes into the images; the rest of this folder only runs them.
INPUTS = ["build", "elf_kernel.py", "first-boot", "kernel-modules", "packages", "guest"]
KEPT_DAYS = 14


class Absent(Exception):
    """There is no lab, and none can be built here; the text is the reason."""


def folder():
    named = os.environ.get("RT_VM_CACHE")
    if named:
        return os.path.abspath(named)
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "rt-vm")


def inputs():
    for name in INPUTS:
        path = os.path.join(HERE, name)
        if os.path.isdir(path):
            yield from (os.path.join(path, entry) for entry in sorted(os.listdir(path)))
        else:
            yield path


def key():
    """Names the lab that the present inputs make."""
    digest = hashlib.sha256()
    for path in inputs():
        with open(path, "rb") as file:
            content = file.read()
        digest.update(f"{os.path.relpath(path, HERE)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def built():
    """The folder of the lab, if it is complete."""
    lab = os.path.join(folder(), key())
    return lab if os.path.exists(os.path.join(lab, "complete")) else None


def obstacle():
    """Why none can be built here; None if nothing speaks against it."""
    if os.geteuid() != 0:
        return "the lab is not built yet, and only root can build it (hack/vm --build)"
    if not shutil.which("apt-get"):
        return "the lab is not built yet, and without apt-get it cannot be"
    return None


def lab(again=False):
    """The folder of the lab; builds it if need be."""
    found = built()
    if not found or again:
        reason = obstacle()
        if reason:
            raise Absent(reason)
        os.makedirs(folder(), exist_ok=True)
        with lock():
            # Another one may have built it while this one waited.
            found = None if again else built()
            found = found or build()
            sweep(found)
    with contextlib.suppress(PermissionError):
        os.utime(os.path.join(found, "complete"))
    return found


@contextlib.contextmanager
def lock():
    with open(os.path.join(folder(), "lock"), "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build():
    target = os.path.join(folder(), key())
    making = target + ".making"
    shutil.rmtree(making, ignore_errors=True)
    os.makedirs(making)
    # In namespaces that end with it, so that an interrupted build leaves no process and no mount behind.
    command = [*engines.confined(), os.path.join(HERE, "build"), making]
    if subprocess.run(command, stdin=subprocess.DEVNULL, preexec_fn=machine.dies_with_us, check=False).returncode:
        raise Absent(f"the lab could not be built; {making} has what is there of it")
    machine.first_boot(making)
    with open(os.path.join(making, "complete"), "w", encoding="utf-8"):
        pass
    shutil.rmtree(target, ignore_errors=True)
    os.rename(making, target)
    return target


def sweep(used):
    """Removes labs that nobody has used for long."""
    for name in os.listdir(folder()):
        path = os.path.join(folder(), name)
        with contextlib.suppress(OSError):
            age_seconds = time.time() - os.stat(os.path.join(path, "complete")).st_mtime
            if path != used and age_seconds > KEPT_DAYS * 86400:
                shutil.rmtree(path)
