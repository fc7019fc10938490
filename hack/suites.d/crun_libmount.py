"""The two things that crun's tests want of util-linux's Python module: a table of mounts, and one mount of it."""


class Mount:
    def __init__(self, line):
        own, _, of_fs = line.partition(" - ")
        own = own.split()
        self.target, self.vfs_options = own[4], own[5]
        self.fs_options = of_fs.split()[2]


class Table:
    def __init__(self, path):
        with open(path, encoding="utf-8") as lines:
            self.mounts = [Mount(line) for line in lines if " - " in line]

    def find_target(self, target):
        """The topmost mount there."""
        return next((mount for mount in reversed(self.mounts) if mount.target == target), None)
