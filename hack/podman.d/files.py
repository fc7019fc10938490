"""Root file system, volumes, tmpfs, devices, masks, copies."""

import os
import re
import subprocess

from case import Skip, both, root, user


def put(folder, name, text, owner=None, mode=0o644):
    path = f"{folder}/{name}"
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)
    if owner:
        os.chown(path, *owner)
    return path


@both
def a_volume_of_the_host_is_read_and_written(p):
    folder = p.folder("volume")
    put(folder, "in", "from the host", (p.uid, p.uid))
    p.expect(f"run --rm -v {folder}:/data box sh -c 'cat /data/in; echo written > /data/out'", "from the host")
    made = os.stat(f"{folder}/out")
    assert open(f"{folder}/out").read() == "written\n"
    assert (made.st_uid, made.st_gid) == (p.host_id(0), p.host_id(0)), made


@both
def a_read_only_volume_cannot_be_written(p):
    folder = p.folder("volume")
    p.fails(f"run --rm -v {folder}:/data:ro box touch /data/x", 1, "read-only")
    assert not os.listdir(folder)


@both
def a_read_only_volume_is_so_in_its_depth(p):
    p.expect("run --rm -v /dev/shm:/a/b/c:ro box sh -c 'touch /a/b/c/x || echo refused'", "refused")


@both
def what_another_id_makes_in_a_volume_belongs_to_it(p):
    folder = p.folder("volume", mode=0o777)
    p.out(f"run --rm -u 100:101 -v {folder}:/data box touch /data/x")
    made = os.stat(f"{folder}/x")
    assert (made.st_uid, made.st_gid) == (p.host_id(100), p.host_id(101)), made


@both
def a_volume_changes_hands_by_U(p):
    folder = p.folder("volume")
    p.expect(f"run --rm -u 100:101 -v {folder}:/data:U box sh -c 'touch /data/x; stat -c %u:%g /data'", "100:101")
    assert os.stat(folder).st_uid == p.host_id(100)


@both
def a_named_volume_takes_the_images_files_and_stays(p):
    p.expect("run --rm -v named:/etc box sh -c 'cat /etc/not-a-program; echo more > /etc/more'", "data")
    p.expect("run --rm -v named:/v box cat /v/more", "more")
    p.out("volume rm named")


@both
def a_file_can_be_bound_on_a_file_that_is_not_there(p):
    folder = p.folder("volume")
    put(folder, "one", "of the host", (p.uid, p.uid))
    p.expect(f"run --rm -v {folder}/one:/deep/er/file:ro box cat /deep/er/file", "of the host")


@both
def volumes_come_from_another_container(p):
    with p.container("-v /data box sh -c 'echo shared > /data/x; sleep 100'") as c:
        p.wait_for(f"run --rm --volumes-from {c} box cat /data/x", "shared")


@both
def a_volume_over_an_overlay_keeps_the_host_as_it_is(p):
    folder = p.folder("volume")
    put(folder, "x", "old\n", (p.uid, p.uid))
    result = p(f"run --rm -v {folder}:/data:O box sh -c 'echo new > /data/x; cat /data/x'")
    if result.status == 125:
        raise Skip("podman makes no overlay here: " + result.err.strip().splitlines()[-1])
    assert result.out == "new\n" and open(f"{folder}/x").read() == "old\n", str(result)


@both
def a_shared_volume_lets_new_mounts_out_of_the_host(p):
    folder = p.folder("volume")
    os.mkdir(f"{folder}/sub")
    with p.container(f"-v {folder}:/data:rslave box sleep 100") as c:
        p.expect(f"exec {c} grep -c ' /data .* master:' /proc/self/mountinfo", "1")


@both
def volume_options_arrive(p):
    folder = p.folder("volume")
    shown = p.out(f"run --rm -v {folder}:/data:noexec,nosuid,nodev box grep ' /data ' /proc/self/mountinfo")
    assert {"noexec", "nosuid", "nodev", "rw"} <= set(shown.split(" ")[5].split(",")), shown


@both
def a_read_only_root_has_writable_tmpfs(p):
    p.fails("run --rm --read-only box touch /x", 1, "read-only")
    p.expect("run --rm --read-only box sh -c 'echo y > /tmp/x; cat /tmp/x; cat /etc/not-a-program'", "y\ndata")


@both
def a_tmpfs_starts_with_the_images_files(p):
    p.expect("run --rm --tmpfs /etc box sh -c 'cat /etc/not-a-program; stat -f -c %T /etc'", "data\ntmpfs")


@both
def a_tmpfs_has_size_and_mode(p):
    p.expect("run --rm --tmpfs /scratch:size=64k,mode=1700 box sh -c 'stat -c %a /scratch; df -k /scratch | tail -n 1'",
             re.compile(r"^1700\n\S+\s+64 "))


@both
def a_mount_without_the_images_files(p):
    result = p("run --rm --mount type=tmpfs,destination=/etc,notmpcopyup box ls -A /etc")
    assert result.status == 0 and "not-a-program" not in result.out, str(result)


@both
def shared_memory_has_the_size_that_was_asked_for(p):
    p.expect("run --rm --shm-size 2m box df -k /dev/shm", re.compile(r"\s2048 "))


@both
def the_root_can_be_a_plain_folder(p):
    folder = p.folder("root")
    subprocess.run(["tar", "-C", folder, "-xf", p.room.image], check=True)
    subprocess.run(["chown", "-R", f"{p.uid}:{p.uid}", folder], check=True)
    p.expect(f"run --rm --rootfs {folder} cat /etc/not-a-program", "data")


@both
def masked_and_read_only_paths_hold(p):
    shown = p.out("run --rm box sh -c 'cat /proc/keys | wc -c; ls /proc/scsi /sys/firmware; touch /proc/sys/kernel/domainname || echo refused'")
    assert shown.startswith("0") and shown.endswith("refused"), shown


@both
def masks_can_be_added_and_taken_away(p):
    p.expect("run --rm --security-opt mask=/etc/not-a-program box cat /etc/not-a-program", "")
    p.expect("run --rm --security-opt unmask=ALL box sh -c 'grep -c \" /proc/keys \" /proc/self/mountinfo || :'", "0")


@both
def a_device_of_the_host_appears(p):
    p.expect("run --rm --device /dev/null:/dev/nothing box sh -c 'echo x > /dev/nothing; stat -c %F /dev/nothing'",
             "character special file")
    if os.path.exists("/dev/fuse"):
        p.expect("run --rm --device /dev/fuse box sh -c 'test -c /dev/fuse && echo there'", "there")


@root
def a_device_has_only_the_access_that_was_given(p):
    p.fails("run --rm --device /dev/fuse:/dev/some:r box sh -c ': > /dev/some'", 1, "not permitted|denied")
    p.expect("run --rm --device /dev/fuse:/dev/some:r box sh -c ': < /dev/some && echo opened'", "opened")


@root
def a_device_that_was_not_given_cannot_be_opened(p):
    p.fails("run --rm --cap-add MKNOD box sh -c 'mknod /tmp/d b 7 99 && cat /tmp/d'", 1, "not permitted|denied")


@both
def the_default_devices_are_there(p):
    line = "run --rm box sh -c 'for d in null zero full random urandom tty; do test -c /dev/$d || echo no $d; done; ls /dev/pts/ptmx /dev/fd /dev/stdin > /dev/null; head -c 3 /dev/zero | wc -c'"
    p.expect(line, "3")


@both
def cp_copies_in_and_out(p):
    folder = p.folder("copies")
    put(folder, "in", "copied", (p.uid, p.uid))
    for verb in ["run -d", "create"]:
        with p.container("box sleep 100", verb=verb) as c:
            p.out(f"cp {folder}/in {c}:/tmp/in")
            p.out(f"cp {c}:/tmp/in {folder}/out")
            assert open(f"{folder}/out").read() == "copied"
            os.unlink(f"{folder}/out")


@both
def cp_reaches_volumes_and_tmpfs_of_a_running_container(p):
    with p.container("-v /data --tmpfs /scratch box sleep 100") as c:
        p.out(f"exec {c} sh -c 'echo v > /data/x; echo t > /scratch/x'")
        folder = p.folder("copies")
        for place, text in [("data", "v"), ("scratch", "t")]:
            p.out(f"cp {c}:/{place}/x {folder}/{place}")
            assert open(f"{folder}/{place}").read() == text + "\n"


@both
def a_secret_is_a_file(p):
    p.out("secret create password -", stdin="hush")
    try:
        p.expect("run --rm --secret password,uid=100,mode=0400 box sh -c 'cat /run/secrets/password; stat -c %u:%a /run/secrets/password'",
                 "hush100:400")
    finally:
        p.out("secret rm password")


@user
def a_folder_of_somebody_else_shows_as_nobodys(p):
    folder = p.folder("foreign", owner=(0, 0))
    put(folder, "x", "seen")
    p.expect(f"run --rm -v {folder}:/data box sh -c 'cat /data/x; stat -c %u /data/x; touch /data/y || echo refused'",
             "seen65534\nrefused")


@both
def an_image_is_built(p):
    folder = p.folder("build")
    put(folder, "Containerfile", "FROM box\nRUN echo made by $(id -u) > /made\nUSER 100\nRUN id -u >> /tmp/second\nWORKDIR /some/where\nCMD pwd; cat /made /tmp/second\n")
    p.out(f"build -q --network=none {p.confinement} -t built {folder}", timeout=60)
    p.expect("run --rm built", "/some/where\nmade by 0\n100")
    p.out("rmi -f built")
