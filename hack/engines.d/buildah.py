"""buildah's run: it calls the runtime itself, without conmon."""

import os
import re
import shutil
import subprocess
from contextlib import contextmanager

import host
from case import Skip
from command import Command


class Buildah(Command):
    program = "buildah"
    refusal = 125
    patience_seconds = 120

    def __init__(self, place, manager, verbose=False):
        super().__init__(place.work, verbose)
        self.room, self.uid = place, os.getuid()
        self.root = self.uid == 0
        self.name = ""

    def environment(self, extra=None):
        return {**os.environ, "TERM": "xterm", "BUILDAH_ISOLATION": "oci", **(extra or {})}

    def line(self, command, options="", name=None):
        return f"run --network none --runtime {self.room.runtime} {options} {name or self.name} -- {command}"

    @contextmanager
    def container(self, options=""):
        """A container of what would become an image."""
        name = self.out(f"from {options} scratch")
        try:
            self.out(f"add {name} {self.room.image} /")
            self.out(f"config --env PATH=/usr/sbin:/usr/bin:/sbin:/bin {name}")
            yield name
        finally:
            self(f"rm {name}")


@contextmanager
def opened(place, manager, verbose):
    if not shutil.which("buildah"):
        raise Skip("buildah is not installed")
    buildah = Buildah(place, manager, verbose)
    with buildah.container() as buildah.name:
        yield buildah


def versions():
    return f"buildah {host.version('buildah')}"


def run(b):
    b.expect(b.line("echo built"), "built")
    b.expect(b.line("cat"), "typed", stdin="typed\n")
    b.expect(b.line("sh -c 'id -u; pwd'", "--user 100 --workingdir /tmp"), "100\n/tmp")


def tty(b):
    words, argv = b.argv(b.line("sh", "-t"))
    status, shown = b.terminal(words, [("# ", "tty; exit 3\n")], argv=argv)
    assert status == 3 and "/dev/" in shown, (status, shown)


def volumes(b):
    folder = f"{b.room.work}/volume.{b.room.name}"
    os.mkdir(folder)
    b.out(b.line("touch /data/made", f"-v {folder}:/data"))
    assert os.listdir(folder) == ["made"]
    b.expect(b.line("sh -c 'touch /data/x 2>/dev/null || ls /data'", f"-v {folder}:/data:ro"), "made")


def status(b):
    b.fails(b.line("sh -c 'exit 9'"), 9)


def not_found(b):
    """buildah has one status for all, so the words count."""
    b.fails(b.line("no-such-program"), 1, "not found|no such file")


def not_executable(b):
    b.fails(b.line("/etc/not-a-program"), 1, "permission denied|not permitted")


def confined(b):
    shown = b.out(b.line("sed -n 's/^Seccomp:.//p; s/^CapEff:.//p' /proc/self/status")).split()
    assert not int(shown[0], 16) >> 21 & 1 and shown[1] == "2", shown


def build(b):
    folder = f"{b.room.work}/build.{b.room.name}"
    os.mkdir(folder)
    with open(f"{folder}/Containerfile", "w") as file:
        file.write("FROM scratch\nADD image.tar /\nENV PATH=/bin\nRUN echo made by $(id -u) > /made\nUSER 100\nRUN cat /made; id -u\n")
    shutil.copy(b.room.image, f"{folder}/image.tar")
    shown = b.out(f"build --isolation oci --runtime {b.room.runtime} --network none -t built {folder}")
    assert re.search("made by 0\n100", shown), shown
    b.out("rmi -f built")


def signalled(b):
    b.fails(b.line("sh -c 'sh -c \"kill -TERM \\$\\$\"; exit $?'"), 143)


def limits(b):
    host.need_controllers("memory", "cpu")
    options = "--memory 64m --memory-swap 64m --cpu-period 100000 --cpu-quota 50000"
    with b.container(options) as name:
        shown = b.out(b.line("sh -c 'cd /sys/fs/cgroup; cat memory.max cpu.max'", name=name))
        assert shown == "67108864\n50000 100000", shown


def mapped(b):
    first = 200_000 if b.root else 1000
    with b.container(f"--userns-uid-map 0:{first}:2000 --userns-gid-map 0:{first}:2000") as name:
        shown = b.out(b.line("sh -c 'id -u; cat /proc/self/uid_map'", name=name)).split()
        assert shown[:2] == ["0", "0"] and shown[2] != "0" and shown[3] == "2000", shown


def nothing_is_left(b):
    """buildah itself deletes what it has created, whatever came of it."""
    listing = [b.room.runtime, "list", "-q"]
    before = subprocess.run(listing, env=b.environment(), stdout=subprocess.PIPE, check=True).stdout
    b.out(b.line("true"))
    b(b.line("no-such-program"))
    b(b.line("sh -c 'sleep 7007 & exit 3'"))
    after = subprocess.run(listing, env=b.environment(), stdout=subprocess.PIPE, check=True).stdout
    assert after == before, (before, after)
    left = subprocess.run(["pgrep", "-f", "^sleep 7007$"], stdout=subprocess.PIPE, text=True, check=False).stdout
    assert not left, left


TESTS = {
    "run": [run], "tty": [tty], "volumes": [volumes], "status of the payload": [status], "status 127": [not_found],
    "status 126": [not_executable], "status 128+n": [signalled], "limits": [limits], "user namespace": [mapped],
    "delete": [nothing_is_left], "confinement": [confined], "build": [build],
}  # fmt: skip
