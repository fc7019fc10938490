"""podman as the tests see it."""

import os
import shutil
from contextlib import contextmanager

import room as rooms
from command import Command

CONFIG = """
[containers]
netns = "none"
pids_limit = 0
log_driver = "k8s-file"
{containers}
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "{name}"
runtime_supports_json = {json}
runtime_supports_nocgroup = ["crun", "rt"]
infra_image = "localhost/box"
{init}
[engine.runtimes]
{name} = ["{runtime}"]
"""
# Stands in for catatonit where that is not installed: same arguments.
INIT = "#!/bin/sh\nshift\n[ \"$1\" != -- ] || shift\n\"$@\"\n"


class Podman(Command):
    """`who` calls podman in the room, with the room's runtime."""

    program = "podman"

    def __init__(self, room, who, verbose=False):
        self.room, self.who = room, who
        self.root = who == "root"
        self.uid = 0 if self.root else rooms.USER_ID
        self.dir = f"{room.work}/{who}"
        os.makedirs(self.dir, exist_ok=True)
        super().__init__(f"{room.work}/home" if not self.root else self.dir, verbose)
        self.runtime_dir = f"{room.work}/run" if not self.root else "/run"
        self.state = f"{self.runtime_dir}/{os.path.basename(room.runtime)}"
        self.init = f"{room.work}/init"
        with open(self.init, "w") as file:
            file.write(INIT)
        os.chmod(self.init, 0o755)
        self.write_configs()
        self.config = f"{self.dir}/containers.conf"
        self.options = ["--storage-driver=vfs", "--log-level=error"]
        # What buildah and podman's build have to be told, which do not read the line above.
        self.confinement = ""

    def write_config(self, name, json, containers=""):
        path = f"{self.dir}/{name}"
        runtime, base = self.room.runtime, os.path.basename(self.room.runtime)
        init = "" if shutil.which("catatonit") else f'init_path = "{self.init}"'
        text = CONFIG.format(name=base, json=json, containers=containers, init=init, runtime=runtime)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o644)

    def write_configs(self, containers=""):
        """The configuration that docs/engines.md asks for, and one that leaves rt unknown."""
        self.write_config("containers.conf", '["crun", "runc", "rt"]', containers)
        self.write_config("plain.conf", "[]", containers)

    def environment(self, extra=None):
        env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": self.home,
            "USER": "root" if self.root else rooms.USER,
            "TERM": "xterm",
            "CONTAINERS_CONF": self.config,
        }
        if not self.root:
            env["XDG_RUNTIME_DIR"] = self.runtime_dir
        return {**env, **(extra or {})}

    def account(self):
        return {} if self.root else {"user": self.uid, "group": self.uid, "extra_groups": []}

    def shell(self, line, timeout=None):
        """A command of the host, as the user, inside podman's user namespace."""
        words = ["unshare", "sh", "-c", line]
        argv = ["sh", "-c", line] if self.root else ["podman", *self.options, *words]
        return self.execute(words, argv, timeout=timeout)

    def import_image(self):
        # podman adds a PATH where an image has none, containerd does not.
        changes = ["--change", "ENV=FROM_IMAGE=yes", "--change", "ENV=PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        changes += ["--change", "CMD=/bin/pause"]
        self.out(["import", *changes, self.room.image, "box"])
        first = self("run --rm box true")
        if "linux.seccomp" in first.err:
            print(f"# {self.who}: without seccomp, which the runtime lacks: {first.err.strip()}", flush=True)
            self.write_configs('seccomp_profile = "unconfined"')
            self.confinement = "--security-opt seccomp=unconfined"

    def folder(self, name, owner=None, mode=0o755):
        """A folder of the host, the user's own unless said."""
        self.count += 1
        path = f"{self.room.work}/{self.who}/{name}{self.count}"
        os.makedirs(path, mode)
        os.chmod(path, mode)
        os.chown(path, *(owner or (self.uid, self.uid)))
        return path

    def host_id(self, inside):
        """What an id of podman's own user namespace is on the host."""
        if self.root:
            return inside
        return self.uid if inside == 0 else rooms.SUBORDINATE[0] + inside - 1


@contextmanager
def words_at_descriptor_three(words):
    """A pipe, written and closed, whose other end has that number."""
    read, write = os.pipe()
    os.write(write, f"{words}\n".encode())
    os.close(write)
    try:
        if read != 3:
            os.dup2(read, 3)
        yield
    finally:
        os.close(3)
        if read != 3:
            os.close(read)
