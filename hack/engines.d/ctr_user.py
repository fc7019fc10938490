"""containerd by ctr as an ordinary user: the daemon is in a user namespace that rootlesskit makes."""

from contextlib import contextmanager

import ctr
import host
from case import Skip

# What the daemon and its shims insist on having there is the user's own in these mounts.
INSIDE = 'rm -rf /run/containerd && mkdir /run/containerd && exec "$@"'


class UsersCtr(ctr.Ctr):
    """ctr beside its daemon, with a systemd scope of the user's for each container."""

    def __init__(self, place, work, manager, verbose=False):
        super().__init__(place, work, manager, verbose)
        self.snapshotter = "native"
        self.state = f"{work}/rootlesskit"

    def child(self):
        """The first process of rootlesskit's namespaces, as the host knows it."""
        try:
            return open(f"{self.state}/child_pid").read().strip()
        except OSError:
            return "0"

    def argv(self, line):
        words, argv = super().argv(line)
        return words, ["nsenter", "--preserve-credentials", "--user", "--mount", "--target", self.child(), *argv]

    def cgroup(self, name):
        return f"user.slice:matrix:{name}"

    def seen_from_outside(self, path):
        return f"/proc/{self.child()}/root{path}"


@contextmanager
def opened(place, manager, verbose):
    host.need_program("containerd", "ctr", "rootlesskit", "newuidmap")
    if manager != "systemd":
        raise Skip("only systemd gives the user cgroups here")
    users = UsersCtr(place, f"{place.work}/containerd.{place.name}", manager, verbose)
    words, env = ctr.settled(users)
    words = ["rootlesskit", "--state-dir", users.state, "--net=host", "--copy-up=/run", "--propagation=rslave",
             "sh", "-c", INSIDE, "sh", *words]
    with ctr.running(users, words, env):
        ctr.import_image(users)
        yield users
