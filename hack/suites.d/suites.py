"""The suites there are. Each is a module with

    PACKAGE, RELEASE   Debian's source package, and the release it is taken from
    WORLDS             name and description of each way to run it
    HERE               the worlds that --here has
    stage(source, to)  copies into the folder `to`, which the guest sees as /src, what of the sources is needed
    command(folder, runtime, user, worlds, filters)
                       the words that run it, as root, where `folder` is that folder; prints TAP with names
                       of the form WORLD / TEST
"""

import crun
import oci
import podman
import runc

SUITES = {"crun": crun, "oci": oci, "podman": podman, "runc": runc}
