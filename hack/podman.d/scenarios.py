"""What somebody really does, step by step, as root and as an ordinary user."""

import os
import re
import shutil

from case import root, user
from command import host_process


@root
def scenario_1_the_capabilities_are_exactly_those_of_podman(p):
    with p.container("box sleep 100") as c:
        wanted = p.out(f"inspect -f '{{{{range .EffectiveCaps}}}}{{{{.}}}} {{{{end}}}}' {c}").split()
        shown = open(f"/proc/{p.pid(c)}/status").read()
        held = {name: int(value, 16) for name, value in re.findall(r"^(Cap\w+):\s+(\w+)", shown, re.MULTILINE)}
        mask = sum(1 << NUMBERS[name] for name in wanted)
        assert held == {"CapInh": 0, "CapPrm": mask, "CapEff": mask, "CapBnd": mask, "CapAmb": 0}, (wanted, held)


NUMBERS = {
    "CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_FSETID": 4, "CAP_KILL": 5, "CAP_SETGID": 6,
    "CAP_SETUID": 7, "CAP_SETPCAP": 8, "CAP_NET_BIND_SERVICE": 10, "CAP_NET_RAW": 13, "CAP_SYS_CHROOT": 18,
    "CAP_MKNOD": 27, "CAP_AUDIT_WRITE": 29, "CAP_SETFCAP": 31,
}  # fmt: skip


@root
def scenario_3_a_bound_etc_belongs_to_root_alone(p):
    folder = p.folder("etc")
    shutil.copy("/etc/shadow", f"{folder}/shadow")
    os.chmod(f"{folder}/shadow", 0o640)
    p.out(f"run --rm -v {folder}:/mnt box sh -c 'echo line >> /mnt/shadow'")
    assert open(f"{folder}/shadow").read().endswith("line\n")
    p.fails(f"run --rm -u 6667:6667 -v {folder}:/mnt box sh -c 'echo line >> /mnt/shadow'", 1, "Permission denied")
    p.expect("run --rm -u 6667:6667 box id", re.compile("^uid=6667(.6667.)? gid=6667(.6667.)? groups=6667(.6667.)?$"))


@root
def scenario_4_a_mapped_root_is_another_user_on_the_host(p):
    folder = p.folder("foreign")
    with open(f"{folder}/file", "w") as file:
        file.write("")
    with p.container(f"--uidmap 0:2000:1000 --gidmap 0:2000:1000 -v {folder}:/mnt -v vol4:/vol box sleep 100") as c:
        assert host_process(p.pid(c)) == (2000, 2000, ["sleep", "100"])
        p.expect(f"exec {c} id -u", "0")
        p.fails(f"exec {c} sh -c 'echo x >> /mnt/file'", 1, "Permission denied")
        p.out(f"exec {c} touch /vol/made")
        place = p.out("volume inspect -f '{{.Mountpoint}}' vol4")
        assert os.stat(f"{place}/made").st_uid == 2000
    p.out("volume rm vol4")


@user
def scenario_5_the_payload_is_the_user_on_the_host(p):
    with p.container("box sleep 100") as c:
        assert host_process(p.pid(c))[:2] == (p.uid, p.uid)
        p.expect(f"exec {c} id -un", "root")
    with p.container("-u 100 box sleep 100") as c:
        assert host_process(p.pid(c))[0] == p.host_id(100)


@user
def scenario_6_the_audit_trail_is_kept(p):
    caller = open("/proc/self/loginuid").read()
    assert p.out("run --rm box cat /proc/self/loginuid") == caller
    with p.container("box sleep 100") as c:
        assert p.out(f"exec {c} cat /proc/self/loginuid") == caller
