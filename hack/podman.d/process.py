"""The payload's process: names, environment, folder, rights, limits."""

import os
import re
import shutil
import socket

from case import Skip, both, root
from engine import words_at_descriptor_three

CAPABILITIES = "cat /proc/self/status"


def sets(p, line):
    """The capability sets of a container's payload, as numbers."""
    shown = p.out(f"run --rm {line} {CAPABILITIES}")
    return {name: int(value, 16) for name, value in re.findall(r"^(Cap\w+):\s+(\w+)", shown, re.MULTILINE)}


@both
def hostname_and_environment(p):
    p.expect("run --rm --hostname web -e A=b -e EMPTY= --env C=d=e box sh -c 'hostname; echo $A,$EMPTY,$C,$FROM_IMAGE,$HOME,$container'",
             "web\nb,,d=e,yes,/root,podman")


@both
def the_working_folder(p):
    p.fails("run --rm -w /not/yet/there box pwd", 126, "does not exist")  # podman's own rule
    p.expect("run --rm -w /tmp box pwd", "/tmp")


@both
def an_entry_point_replaces_the_images(p):
    p.expect("run --rm --entrypoint /bin/echo box of words", "of words")
    p.expect("""run --rm --entrypoint '["/bin/sh", "-c"]' box 'echo list $0'""", "list /bin/sh")


@both
def users_by_id_and_by_name(p):
    p.expect("run --rm -u 6667:6668 box sh -c 'id -u; id -g; id -G; echo $HOME'", "6667\n6668\n6668\n/")
    p.expect("run --rm -u guest box sh -c 'id; echo $HOME'",
             "uid=100(guest) gid=101(guest) groups=101(guest),102(friends)\n/home")
    p.expect("run --rm --group-add 2000 --group-add friends box id -G", re.compile(r"^0 (2000 102|102 2000)$"))


@both
def capabilities_come_and_go(p):
    default = sets(p, "box")
    assert default["CapEff"] == default["CapPrm"] == default["CapBnd"] != 0, default
    assert default["CapAmb"] == 0, default
    assert sets(p, "--cap-drop ALL box")["CapBnd"] == 0
    assert sets(p, "--cap-drop ALL --cap-add NET_RAW box")["CapEff"] == 1 << 13
    assert sets(p, "--cap-add SYS_PTRACE box")["CapEff"] == default["CapEff"] | 1 << 19


@both
def another_user_has_no_effective_capabilities_unless_added(p):
    assert sets(p, "-u 100 box")["CapEff"] == 0
    added = sets(p, "-u 100 --cap-add NET_BIND_SERVICE box")
    assert added["CapEff"] == added["CapAmb"] == 1 << 10, added


@both
def privileged_has_every_capability_of_the_caller(p):
    last = int(open("/proc/sys/kernel/cap_last_cap").read())
    own = int(re.search(r"CapBnd:\s+(\w+)", p.shell("cat /proc/self/status").out)[1], 16)
    held = sets(p, "--privileged box")["CapEff"]
    assert held == own & (1 << last + 1) - 1, f"{held:x}, wanted {own:x}"


@both
def privileged_sees_devices_and_mounts(p):
    p.expect("run --rm --privileged box sh -c 'mkdir /m; mount -t tmpfs none /m && echo mounted; ls /dev/fuse; grep -c \" /proc/keys \" /proc/self/mountinfo || :'",
             re.compile(r"^mounted\n/dev/fuse\n0$"))


@both
def no_new_privileges_is_kept(p):
    p.expect("run --rm --security-opt no-new-privileges box grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1")
    p.expect("run --rm box grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t0")


@both
def limits_of_the_process(p):
    p.expect("run --rm --ulimit nofile=100:200 --ulimit core=0:0 --ulimit nproc=5000:5000 box sh -c 'ulimit -Sn; ulimit -Hn; ulimit -c'", "100\n200\n0")


@both
def a_limit_above_the_callers_is_refused_in_words(p):
    hard = int(p.shell("ulimit -Hn").out)
    result = p(f"run --rm --ulimit nofile={hard + 1}:{hard + 1} box true")
    if p.root and result.status == 0:
        raise Skip("root may raise limits here")
    assert result.status == 126 and re.search("not permitted", result.err), str(result)


@root
def root_raises_limits_in_a_user_namespace_too(p):
    hard = int(p.shell("ulimit -Hn").out)
    raised = f"--ulimit nofile={hard + 1}:{hard + 1}"
    if p(f"run --rm {raised} box true").status != 0:
        raise Skip("root may raise no limits here")
    with p.container(f"{raised} --uidmap 0:100:500 --gidmap 0:100:500 box sleep 100") as c:
        p.expect(f"exec {c} sh -c 'ulimit -Hn; sed -n \"s/Max open files *//p\" /proc/1/limits'",
                 re.compile(f"^{hard + 1}\\n{hard + 1} "))


@both
def sysctl_of_the_containers_namespaces(p):
    p.expect("run --rm --sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=4096 box sh -c 'cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax'",
             "1\n4096")


@both
def the_umask_is_set(p):
    p.expect("run --rm --umask 0077 box sh -c 'umask; touch /tmp/x; stat -c %a /tmp/x'", "0077\n600")
    p.expect("run --rm box sh -c umask", "0022")
    with p.container("--umask 0027 box sleep 100") as c:
        p.expect(f"exec {c} sh -c umask", "0027")


@both
def descriptors_are_kept_open_by_number(p):
    with words_at_descriptor_three("through a pipe"):
        p.expect("run --rm --preserve-fds 1 box sh -c 'cat <&3'", "through a pipe", pass_fds=(3,))


@both
def no_other_descriptor_is_open(p):
    p.expect("run --rm box ls /proc/self/fd", "0\n1\n2\n3")  # 3 is the folder that is listed
    with p.container("box sleep 100") as c:
        shown = p.out(f"exec {c} ls /proc/1/fd").split()
        assert shown == ["0", "1", "2"], shown


@both
def signals_are_at_their_defaults(p):
    shown = p.out(f"run --rm box {CAPABILITIES}")
    for name in ["SigBlk", "SigIgn"]:
        assert re.search(rf"{name}:\s+0+$", shown, re.MULTILINE), shown


@both
def annotations_reach_the_runtimes_state(p):
    with p.container("--annotation com.example.some=thing box sleep 100") as c:
        shown = p.execute(["state"], [p.room.runtime, "state", p.out(f"inspect -f '{{{{.Id}}}}' {c}")])
        if p.root or shown.status == 0:
            assert "com.example.some" in shown.out, str(shown)
            return
        inside = p.shell(f"{p.room.runtime} state $(podman --storage-driver=vfs inspect -f '{{{{.Id}}}}' {c})")
        assert '"com.example.some": "thing"' in inside.out, str(inside)


@both
def systemd_mode_gives_its_tmpfs_and_cgroup(p):
    shown = p.out("run --rm --systemd=always box grep -E ' (/run|/run/lock|/tmp|/sys/fs/cgroup) ' /proc/self/mountinfo")
    assert shown.count("tmpfs") >= 3 and "cgroup" in shown, shown


@both
def the_cgroup_namespace_is_private(p):
    p.expect("run --rm box sh -c 'grep ^0: /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs | head -n 1'", "0::/\n1")


@both
def the_cgroup_is_named_for_the_container(p):
    with p.container("--cgroup-parent /special box sleep 100") as c:
        shown = open(f"/proc/{p.pid(c)}/cgroup").read()
        assert re.search(r"^0::/special/libpod-[0-9a-f]{64}$", shown, re.MULTILINE), shown


@both
def a_container_without_a_cgroup_of_its_own(p):
    name = os.path.basename(p.room.runtime)
    if name not in ("rt", "crun"):
        raise Skip(f"podman allows it for crun alone, and this is {name}")
    p.expect("run --rm --cgroups=disabled box echo without", "without")


@both
def a_split_cgroup_is_below_podmans_own(p):
    # Where podman itself is changes: it goes into a deeper one at times.
    seen = re.compile(r"^0::/.+/libpod-payload-\w+$", re.MULTILINE)
    p.expect("run --rm --cgroups=split --cgroupns=host box cat /proc/self/cgroup", seen)


@both
def oom_scores(p):
    own = int(p.shell("cat /proc/self/oom_score_adj").out)
    p.expect(f"run --rm --oom-score-adj {own + 100} box cat /proc/self/oom_score_adj", str(own + 100))


@both
def the_time_zone(p):
    p.expect("run --rm --tz UTC box date +%Z", "UTC")


@both
def proc_hides_processes_when_asked(p):
    result = p("run --rm --security-opt proc-opts=hidepid=2 box grep ' /proc ' /proc/self/mountinfo")
    assert result.status == 0 and re.search("hidepid=(2|invisible)", result.out), str(result)


@both
def readiness_reaches_the_service_manager(p):
    """With the host's systemd-notify: --sdnotify=container when the payload says so, conmon when it runs."""
    if not shutil.which("systemd-notify"):
        raise Skip("there is no systemd-notify")
    libraries = "/host/lib/x86_64-linux-gnu:/host/lib/x86_64-linux-gnu/systemd"
    says = f"/host/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 --library-path {libraries} /host/bin/systemd-notify --ready --no-block"
    if not os.path.exists(says.split()[0].replace("/host", "/usr")):
        raise Skip("the host's libraries lie elsewhere")
    path = os.path.join(p.folder("manager"), "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        os.chmod(path, 0o777)
        manager.settimeout(20)
        for mode, words in [("container", says), ("conmon", "true")]:
            result = p(f"run --rm --sdnotify={mode} -v /usr:/host:ro box sh -c '{words} && sleep 1'", env={"NOTIFY_SOCKET": path})
            assert result.status == 0, str(result)
            heard = ""
            while "READY=1" not in heard:
                heard += manager.recv(4096).decode() + "\n"
            assert mode == "container" or "MAINPID=" in heard, heard


@both
def readiness_is_told_to_podman(p):
    """A payload that has $NOTIFY_SOCKET finds a socket there."""
    line = "run --rm --sdnotify=container box sh -c 'test -z \"$NOTIFY_SOCKET\" || test -S \"$NOTIFY_SOCKET\" && echo fits'"
    p.expect(line, "fits")
