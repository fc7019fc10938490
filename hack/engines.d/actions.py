"""What is asked of every engine, in the order of docs/compat.md: a name, and what has to happen."""

import signal
import traceback
from contextlib import contextmanager

from case import Skip

ACTIONS = {
    "features": "the engine has read what the runtime can",
    "run": "what the payload prints, reads and ends with arrives",
    "exec": "a second process; its user, folder, environment, status; in the background",
    "tty": "a shell on a terminal, its size, a resize, an interrupt",
    "attach": "a terminal is joined, sees and types",
    "detach and reattach": "left by its keys, joined again, ended",
    "logs": "both streams, and followed to the end",
    "stats": "memory and processes beside their limits",
    "top": "the processes of the container",
    "limits": "memory, cpu and pids are written, a fork bomb stops",
    "update": "the limits of a running container change",
    "pause": "all is frozen and goes on",
    "kill": "any signal by name, and the end",
    "stop": "asks first, kills what does not listen",
    "restart": "a new process of the same container; by its policy",
    "delete": "a running one by force, and nothing is left",
    "cp": "in and out",
    "healthcheck": "health and illness",
    "volumes": "of the host, named, read-only, tmpfs",
    "idmapped volume": "ids of the host's folder are the container's",
    "user namespace": "mapped ids inside and outside",
    "time namespace": "a spec with {\"type\":\"time\"}, as docker 29.5 sends it",
    "shared namespaces": "pid, ipc and network of another container",
    "pods": "what pods share",
    "network": "a published port answers the host (scenario 7)",
    "confinement": "capabilities, seccomp and, where the host has it, AppArmor are in force",
    "privileged": "mounts and devices of the host",
    "build": "steps of an image",
    "status of the payload": "exit 42 is 42",
    "status 128+n": "killed by signal n",
    "status 125": "what the runtime refuses otherwise (podman: 126)",
    "status 126": "a folder, a file without execute right; run and exec",
    "status 127": "no such program; run and exec (docker: 126 of exec, whatever the runtime says)",
    "out of memory": "killed, 137, and the engine says why",
    "30 at once": "thirty containers at the same time",
    "checkpoint": "saved, ended, and goes on where it was",
    "iptables": "refused; with NET_ADMIN; privileged (scenario 2)",
    "low ports": "port 80 of the host's network and of an own one (scenario 8)",
    "own binary": "entry points of /proc/self/exe, and who opens /proc/PID/exe, never write to the runtime (scenario 13)",
    "nested": "the engine in a container (scenario 14)",
}  # fmt: skip


class OverTime(AssertionError):
    """An action took longer than it may."""


@contextmanager
def bounded(seconds):
    def ring(*_):
        raise OverTime(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def measure(engine, tests, seconds):
    """Runs the functions of one action; returns ok, fails or skipped, and the reason."""
    try:
        with bounded(seconds):
            for test in tests:
                test(engine)
    except Skip as reason:
        return "skipped", str(reason)
    except AssertionError as failure:
        return "fails", where(failure) + str(failure)
    except Exception:
        return "fails", traceback.format_exc()
    return "ok", ""


def where(failure):
    steps = traceback.extract_tb(failure.__traceback__)[1:]
    return "".join(f"{step.line}\n" for step in steps[:2])
