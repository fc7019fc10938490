"""The validation programs of the OCI's runtime-tools, in Go; Debian has all that they import but one package."""

import os
import shutil
import subprocess
import sys
import tempfile

import place

PACKAGE, RELEASE = "golang-github-opencontainers-runtime-tools", "sid"
WORLDS = {"root": "root"}
HERE = ["root"]
MODULES = os.path.dirname(os.path.realpath(__file__))
DEBIAN = "/usr/share/gocode"
NEEDS = ["golang-go", "golang-github-opencontainers-runtime-tools-dev", "golang-github-google-uuid-dev"]
IMPORTED = "github.com/opencontainers/runtime-tools"


def stage(source, to):
    if not os.path.isdir(os.path.join(source, "validation")):
        raise FileNotFoundError(f"{source} has no validation: it is no source of runtime-tools")
    if not shutil.which("go") or not os.path.isdir(os.path.join(DEBIAN, "src", IMPORTED)):
        print(f"skipped: needs Debian's {', '.join(NEEDS)}")
        sys.exit(place.SKIPPED)
    with tempfile.TemporaryDirectory() as work:
        own = os.path.join(work, "src", IMPORTED)
        shutil.copytree(source, own)
        # Nobody has packaged it; the one in this tree has what the programs call.
        shutil.copytree(os.path.join(MODULES, "tap"), os.path.join(work, "src", "github.com", "mndrix", "tap-go"))
        settings = {"GO111MODULE": "off", "GOPATH": f"{work}:{DEBIAN}", "GOCACHE": os.path.join(work, "cache")}

        def build(package, name, *options):
            words = ["go", "build", "-tags", "netgo osusergo", *options, "-o", os.path.join(to, name), package]
            subprocess.run(words, check=True, cwd=own, env={**os.environ, **settings, "CGO_ENABLED": "0"})

        build("./cmd/runtimetest", "runtimetest", "-ldflags", "-s")
        for name in sorted(os.listdir(os.path.join(own, "validation"))):
            if name != "util" and not name.startswith("."):
                build(f"./validation/{name}", os.path.join("programs", name), "-ldflags", "-s")
        for name in os.listdir(own):
            if name.startswith("rootfs-"):
                shutil.copy(os.path.join(own, name), to)
    shutil.copy(os.path.join(MODULES, "oci_inside.py"), to)


def command(folder, runtime, user, worlds, filters):
    del user, worlds
    return ["python3", os.path.join(folder, "oci_inside.py"), "--suite", folder, "--runtime", runtime, "--", *filters]
