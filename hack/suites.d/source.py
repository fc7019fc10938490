"""Where a suite's sources come from: a Debian source package, fetched once by the mirror that apt has."""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile


def cache():
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(home, "rt-suites")


def mirror():
    """Where this machine's apt gets Debian's packages; RT_VM_MIRROR names another."""
    if named := os.environ.get("RT_VM_MIRROR"):
        return named
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL)", "Created-By: Packages"]
    for line in subprocess.run(targets, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
        place, _, label = line.rpartition(" ")
        if label == "Debian":
            return place
    sys.exit("hack/suites: apt knows no Debian mirror; RT_VM_MIRROR can name one, or --source a folder")


def fetched(package, release):
    """The unpacked folder of a source package, which is kept for the next time."""
    kept = os.path.join(cache(), f"{package}-{release}")
    if os.path.isdir(kept):
        return kept
    os.makedirs(cache(), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache()) as work:
        os.chmod(work, 0o755)
        lists = os.path.join(work, "sources.list")
        with open(lists, "w", encoding="ascii") as file:
            file.write(f"deb-src {mirror()} {release} main\n")
        os.makedirs(os.path.join(work, "lists", "partial"))
        # A mirror may stand still for longer than unstable's dates allow; its signature counts all the same.
        apt = ["apt-get", "-qq", "-o", f"Dir::Etc::SourceList={lists}", "-o", "Dir::Etc::SourceParts=/dev/null",
               "-o", f"Dir::State::Lists={work}/lists", "-o", f"Dir::Cache={work}", "-o", "APT::Sandbox::User=root",
               "-o", "Acquire::Check-Valid-Until=false"]
        subprocess.run([*apt, "update"], check=True, stdout=sys.stderr)
        subprocess.run([*apt, "source", "--download-only", package], check=True, cwd=work, stdout=sys.stderr)
        (archive,) = [path for path in glob.glob(f"{work}/*.orig.tar.*") if re.search(r"\.orig\.tar\.\w+$", path)]
        unpacked = os.path.join(work, "unpacked")
        os.mkdir(unpacked)
        subprocess.run(["tar", "-xf", archive, "-C", unpacked, "--strip-components=1"], check=True)
        shutil.move(unpacked, kept)
    return kept
