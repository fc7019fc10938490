"""An image as an archive that docker and containerd load, of a plain tar archive."""

import hashlib
import io
import json
import os
import tarfile


def add(archive, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def write(path, name, layer):
    """Writes the archive of one image with one layer, whose command sleeps."""
    if os.path.exists(path):
        return path
    content = open(layer, "rb").read()
    config = {
        "architecture": "amd64", "os": "linux",
        "config": {"Env": ["FROM_IMAGE=yes", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["/bin/pause"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(content).hexdigest()]},
    }  # fmt: skip
    described = json.dumps(config).encode()
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(f"{path}.new", "w") as archive:
        add(archive, "layer.tar", content)
        add(archive, "config.json", described)
        add(archive, "manifest.json", json.dumps(manifest).encode())
    os.replace(f"{path}.new", path)
    return path
