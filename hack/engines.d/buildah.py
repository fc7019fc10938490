"""buildah's run: it calls the runtime itself, without conmon."""

import os
import re
import shutil
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

    def line(self, command, options=""):
        return f"run --network none --runtime {self.room.runtime} {options} {self.name} -- {command}"


@contextmanager
def opened(place, manager, verbose):
    if not shutil.which("buildah"):
        raise Skip("buildah is not installed")
    buildah = Buildah(place, manager, verbose)
    buildah.name = buildah.out("from scratch")
    try:
        buildah.out(f"add {buildah.name} {place.image} /")
        buildah.out(f"config --env PATH=/usr/sbin:/usr/bin:/sbin:/bin {buildah.name}")
        yield buildah
    finally:
        buildah(f"rm {buildah.name}")


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


TESTS = {
    "run": [run], "tty": [tty], "volumes": [volumes], "status of the payload": [status], "status 127": [not_found],
    "status 126": [not_executable], "confinement": [confined], "build": [build],
}  # fmt: skip
