"""User namespaces of podman: --userns, --uidmap, --gidmap."""

import os
import re

from case import Skip, both, user
from command import host_process


@user
def keep_id_is_the_same_user_inside(p):
    p.expect("run --rm --userns=keep-id box sh -c 'id -u; id -g'", f"{p.uid}\n{p.uid}")
    folder = p.folder("volume")
    p.out(f"run --rm --userns=keep-id -v {folder}:/data box touch /data/x")
    assert os.stat(f"{folder}/x").st_uid == p.uid


@user
def keep_id_with_another_id(p):
    result = p("run --rm --userns=keep-id:uid=200,gid=210 box sh -c 'id -u; id -g'")
    if "unknown" in result.err or "invalid" in result.err:
        raise Skip("this podman knows no options of keep-id")
    assert result.out == "200\n210\n", str(result)


@user
def nomap_hides_the_user(p):
    result = p("run --rm --userns=nomap box cat /proc/self/uid_map")
    if result.status == 125 and "unrecognized" in result.err:
        raise Skip("this podman has no --userns=nomap")
    assert result.status == 0, str(result)
    assert not re.search(rf"\s{p.uid}\s", result.out), str(result)


@both
def an_automatic_user_namespace(p):
    result = p("run --rm --userns=auto:size=1000 box cat /proc/self/uid_map")
    assert result.status == 0, str(result)
    inside, outside, count = result.out.split()
    assert (inside, count) == ("0", "1000") and outside != "0", str(result)


@both
def maps_by_number(p):
    maps = "--uidmap 0:100:500 --gidmap 0:200:500"
    p.expect(f"run --rm {maps} box sh -c 'id -u; id -g; cat /proc/self/uid_map | wc -l'", "0\n0\n1")
    with p.container(f"{maps} box sleep 100") as c:
        assert host_process(p.pid(c))[:2] == (p.host_id(100), p.host_id(200))
        p.expect(f"exec {c} id -u", "0")
        p.expect(f"exec -u 50 {c} id -u", "50")
        status, shown = p.terminal(f"exec -it {c} sh", [("# ", "exit 2\n")])
        assert status == 2, shown


@both
def maps_in_several_pieces(p):
    line = "run --rm --uidmap 0:1000:10 --uidmap 10:2000:10 --uidmap 20:3000:10 --gidmap 0:1000:30 -u 15 box sh -c 'id -u; cat /proc/self/uid_map'"
    assert p.out(line).splitlines()[0] == "15"


@both
def mapped_ids_own_their_root_and_volumes(p):
    folder = p.folder("volume", mode=0o777)
    p.expect(f"run --rm --uidmap 0:100:500 --gidmap 0:100:500 -v {folder}:/data box sh -c 'stat -c %u /etc/passwd; touch /data/x; stat -c %u /data/x'",
             "0\n0")
    assert os.stat(f"{folder}/x").st_uid == p.host_id(100)


@both
def a_folder_that_mapped_ids_cannot_reach_is_still_bound(p):
    folder = p.folder("closed", mode=0o700)
    inner = f"{folder}/inner"
    os.mkdir(inner, 0o755)
    with open(f"{inner}/x", "w") as file:
        file.write("reached")
    maps, bound = "--uidmap 0:100:500 --gidmap 0:100:500", f"-v {inner}:/data:ro"
    p.expect(f"run --rm {maps} {bound} box cat /data/x", "reached")
    with p.container(f"{maps} box sleep 100") as c:
        p.expect(f"run --rm --userns=container:{c} {bound} box cat /data/x", "reached")


@both
def the_hosts_user_namespace(p):
    maps = p.shell("cat /proc/self/uid_map").out
    assert p.out("run --rm --userns=host box cat /proc/self/uid_map").split() == maps.split()


@both
def the_user_namespace_of_another_container(p):
    with p.container("--uidmap 0:100:500 --gidmap 0:100:500 box sleep 100") as c:
        p.expect(f"run --rm --userns=container:{c} box sh -c 'id -u; cut -c 12-40 /proc/self/uid_map'", re.compile("^0\n.*100"))


@both
def more_ids_than_there_are_is_an_error(p):
    if p.root:
        raise Skip("root has all ids")
    result = p("run --rm --uidmap 0:0:9999999 box true")
    assert result.status in (125, 126), str(result)


@user
def groups_of_the_caller_can_be_kept(p):
    result = p("run --rm --group-add keep-groups box id -G")
    assert result.status == 0, str(result)
