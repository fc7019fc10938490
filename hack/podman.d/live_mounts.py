"""Mounts that come and go in a running container of podman's: rt's own verb, as crun has it."""

import json
import os

from case import Skip, both, user


def change(p, action, container, mounts, inside=True):
    """`rt mounts ACTION`, for a user inside of podman's user namespace, or beside it."""
    if os.path.basename(p.room.runtime) != "rt":
        raise Skip("this runtime has no `mounts`, or not as rt has it")
    file = f"{p.folder('list')}/mounts.json"
    with open(file, "w") as text:
        json.dump(mounts, text)
    identity = p.out(f"inspect -f '{{{{.Id}}}}' {container}")
    line = f"{p.room.runtime} mounts {action} {identity} {file}"
    result = p.shell(line) if inside else p.execute([line], ["sh", "-c", line])
    assert result.status == 0, str(result)


def comes_and_goes(p, options, inside=True, write=True):
    folder = p.folder("shared", mode=0o777)
    with open(f"{folder}/mark", "w") as mark:
        mark.write("of the host\n")
    mounts = [
        {"destination": "/at/shared", "type": "bind", "source": folder, "options": ["rbind", "rw" if write else "ro"]},
        {"destination": "/at/small", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "mode=1777"]},
    ]
    shown = 'grep -c " /at/s" /proc/self/mountinfo'
    with p.container(f"{options} box sleep 100") as c:
        change(p, "add", c, mounts, inside)
        p.expect(f"exec {c} cat /at/shared/mark", "of the host")
        p.expect(f"exec {c} sh -c 'echo x > /at/small/file; cat /at/small/file; {shown}'", "x\n2")
        refused = p(f"exec {c} sh -c 'echo y > /at/shared/made'")
        assert (refused.status == 0) == write, str(refused)
        change(p, "remove", c, mounts, inside)
        assert p(f"exec {c} sh -c '{shown}'").out == "0\n"
    assert os.path.exists(f"{folder}/made") == write


@both
def a_folder_comes_into_a_running_container_and_goes(p):
    comes_and_goes(p, "")


@both
def a_folder_comes_into_a_container_with_a_user_namespace(p):
    options = "--uidmap 0:100000:1000 --gidmap 0:100000:1000" if p.root else "--userns=keep-id"
    comes_and_goes(p, options)


@both
def a_folder_comes_read_only_into_a_read_only_container(p):
    # In such a root no place can be made.
    comes_and_goes(p, "--read-only --tmpfs /at", write=False)


@user
def mounts_come_and_go_by_the_user_himself_too(p):
    comes_and_goes(p, "", inside=False)
