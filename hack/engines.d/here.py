"""On this machine: in the room that hack/podman makes for its tests, with cgroupfs and without networks."""

import os
from contextlib import contextmanager
from types import SimpleNamespace

import engine as podman_here
import engines
import guest
import room as rooms


def run(options, command):
    """Makes a room for each runtime, one after the other; returns the worst exit status."""
    lacking = rooms.lacking()
    if lacking:
        print(f"skipped: {lacking}")
        return 77
    options.manager = "cgroupfs"
    statuses = []
    for runtime in options.runtime:
        # Without a path of rt it is the newest of the tree.
        chosen = SimpleNamespace(runtime=options.rt if runtime == "rt" else runtime, limit=options.limit, check=options.check)
        statuses.append(rooms.host(chosen, command))
    return max(statuses)


def enter(options):
    """Inside: the engines that a room can have. The others say what they lack."""
    room = rooms.enter(options.inside)
    room.name = os.path.basename(room.runtime)
    options.runtime, options.manager = [room.name], "cgroupfs"
    return guest.run_in(options, lambda _: room, opener)


def opener(name):
    if name.startswith("podman-"):
        return lambda place, manager, verbose: podman(place, name.removeprefix("podman-"), verbose)
    return engines.ENGINES[name].opened


@contextmanager
def podman(place, who, verbose):
    opened = podman_here.Podman(place, who, verbose)
    opened.import_image()
    yield opened
