"""buildah, where it is installed: it calls the runtime itself, without conmon."""

import shutil

from case import Skip, both
from engine import Podman


def buildah(p: Podman, line, wanted=0):
    import shlex

    result = p.execute(["buildah", *shlex.split(line)], ["buildah", "--storage-driver=vfs", *shlex.split(line)])
    assert result.status == wanted, str(result)
    return result.out.rstrip("\n")


@both
def buildah_runs_its_steps(p):
    if not shutil.which("buildah"):
        raise Skip("buildah is not installed")
    name = buildah(p, f"from --pull-never {p.confinement} localhost/box")
    run = f"run --isolation oci --network none --runtime {p.room.runtime}"
    try:
        assert buildah(p, f"{run} {name} -- echo built") == "built"
        assert buildah(p, f"{run} --user 100 --workingdir /tmp {name} -- sh -c 'id -u; pwd'") == "100\n/tmp"
        buildah(p, f"{run} {name} -- sh -c 'exit 9'", 9)
        buildah(p, f"{run} {name} -- no-such-program", 1)
    finally:
        buildah(p, f"rm {name}")
