"""What engines do beside containers: hooks, profiles, crashes, containers in containers."""

import hashlib
import json
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from case import Skip, both, user
from engine import words_at_descriptor_three

STAGES = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]


@both
def hooks_of_podman_run_in_their_order(p):
    folder = p.folder("hooks")
    record = f"{folder}/record"
    for number, stage in enumerate(STAGES):
        # startContainer's program comes from the container.
        shell = "/bin/sh"
        script = f"cat > {folder}/state.{stage}; echo {stage} >> {record}"
        hook = {"path": shell, "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}
        with open(f"{folder}/{number}.json", "w") as file:
            json.dump({"version": "1.0.0", "hook": hook, "when": {"always": True}, "stages": [stage]}, file)
    before, p.options = p.options, [*p.options, f"--hooks-dir={folder}"]
    try:
        p.expect(f"run --rm -v {folder}:{folder} box echo payload", "payload")
    finally:
        p.options = before
    assert open(record).read().split() == STAGES, open(record).read()
    states = {stage: json.load(open(f"{folder}/state.{stage}")) for stage in STAGES}
    assert {state["id"] for state in states.values()} == {states["prestart"]["id"]}
    wanted = ["creating", "creating", "creating", "created", "running", "stopped"]
    found = [states[stage]["status"] for stage in STAGES]
    # runc and crun call the middle ones by other names.
    assert found == wanted or os.path.basename(p.room.runtime) != "rt", found


@both
def a_failing_hook_stops_the_start(p):
    folder = p.folder("hooks")
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo no by hook >&2; exit 3"]}
    with open(f"{folder}/one.json", "w") as file:
        json.dump({"version": "1.0.0", "hook": hook, "when": {"always": True}, "stages": ["createRuntime"]}, file)
    before, p.options = p.options, [*p.options, f"--hooks-dir={folder}"]
    try:
        result = p("run --rm box echo payload")
    finally:
        p.options = before
    assert result.status in (125, 126, 127) and "payload" not in result.out, str(result)
    assert "hook" in result.err, str(result)


@both
def the_default_seccomp_profile_is_in_force(p):
    if p.confinement:
        raise Skip("the runtime has no seccomp")
    p.expect("run --rm box sed -n 's/Seccomp:.//p' /proc/self/status", "2")
    p.expect("run --rm --privileged box sed -n 's/Seccomp:.//p' /proc/self/status", "0")
    p.fails("run --rm box unshare -m true", 1, "not permitted")


@both
def a_seccomp_profile_of_ones_own(p):
    if p.confinement:
        raise Skip("the runtime has no seccomp")
    folder = p.folder("profile")
    refused = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
    with open(f"{folder}/profile.json", "w") as file:
        json.dump({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused]}, file)
    profile = f"--security-opt seccomp={folder}/profile.json"
    p.fails(f"run --rm {profile} box mkdir /x", 1, "not supported")
    with p.container(f"{profile} box sleep 100") as c:
        p.fails(f"exec {c} mkdir /x", 1, "not supported")


@both
def a_container_that_removes_itself_in_the_background(p):
    c = p.out("run -d --rm box sleep 0.3")
    p.wait_for("ps -aq --no-trunc", rf"^(?!(.|\n)*{c})", seconds=20)


@both
def a_container_whose_conmon_was_killed_can_be_removed(p):
    with p.container("box sleep 100") as c:
        pid, name = p.pid(c), p.out(f"inspect -f '{{{{.Id}}}}' {c}")
        os.kill(int(p.out(f"inspect -f '{{{{.State.ConmonPid}}}}' {c}")), signal.SIGKILL)
        remove_orphan(p, c)
        assert gone(pid), "the payload lives on"
        delete_by_hand(p, name)


@both
def a_container_of_which_all_was_killed_can_be_removed(p):
    with p.container("box sh -c 'sleep 200 & sleep 100'") as c:
        pid, name = p.pid(c), p.out(f"inspect -f '{{{{.Id}}}}' {c}")
        os.kill(int(p.out(f"inspect -f '{{{{.State.ConmonPid}}}}' {c}")), signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        assert gone(pid)
        remove_orphan(p, c)
        delete_by_hand(p, name)


def remove_orphan(p, c):
    """podman 5 notices at its first try that conmon is gone, and needs another."""
    if p(f"rm -f -t 0 {c}").status != 0:
        p.out(f"rm -f -t 0 {c}")


def delete_by_hand(p, name):
    """podman 4.3 forgets to have the runtime delete a container that has lost its conmon."""
    result = p.shell(f"{p.room.runtime} delete --force {name}")
    assert result.status == 0, str(result)
    assert not os.path.exists(f"{p.state}/{name}"), os.listdir(p.state)


def gone(pid):
    end = time.monotonic() + 5
    while not ended(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def ended(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return "(zombie)" in file.read()
    except (FileNotFoundError, ProcessLookupError):
        # It may go between open(2) and read(2).
        return True


@both
def exec_keeps_descriptors_open_by_number(p):
    with p.container("box sleep 100") as c, words_at_descriptor_three("through a pipe"):
        p.expect(f"exec --preserve-fds 1 {c} sh -c 'cat <&3'", "through a pipe", pass_fds=(3,))


@both
def mounts_of_every_kind_that_podman_knows(p):
    folder = p.folder("mounts")
    mounts = [
        f"type=bind,src={folder},dst=/a,ro=true,bind-propagation=rprivate",
        f"type=bind,src={folder},dst=/b,bind-nonrecursive=true",
        "type=devpts,destination=/c",
        "type=image,source=box,destination=/d",
        "type=volume,destination=/e",
        "type=tmpfs,destination=/f,tmpfs-size=65536,tmpfs-mode=0700",
    ]
    line = " ".join(f"--mount {mount}" for mount in mounts)
    shown = p.out(f"run --rm {line} box sh -c 'for d in a b c d e f; do grep \" /$d \" /proc/self/mountinfo; done; cat /d/etc/not-a-program'")
    assert shown.count("\n") == 6 and shown.endswith("data"), shown


def bundle(p):
    """A bundle of the host, for the runtime inside a container."""
    folder = p.folder("inner")
    subprocess.run(["cp", "-a", p.room.rootfs, f"{folder}/rootfs"], check=True)
    subprocess.run([p.room.runtime, "spec", "--rootless"], cwd=folder, check=True)
    return folder


def give(p, folder):
    subprocess.run(["chown", "-R", f"{p.uid}:{p.uid}", folder], check=True)


@both
def a_container_in_a_container(p):
    """Nested user namespaces: the runtime runs itself inside what it made."""
    if os.path.basename(p.room.runtime) != "rt":
        raise Skip("made for one static binary")
    folder = bundle(p)
    with open(f"{folder}/config.json") as file:
        config = json.load(file)
    config["process"]["terminal"] = False
    config["process"]["args"] = ["sh", "-c", "id -u; hostname; cat /proc/self/uid_map | wc -l"]
    with open(f"{folder}/config.json", "w") as file:
        json.dump(config, file)
    give(p, folder)
    volumes = f"-v {folder}:/inner -v {p.room.binary}:/bin/rt:ro"
    p.expect(f"run --rm --privileged {volumes} -w /inner box rt --root /tmp/state run inner", re.compile("^0\n.*\n1$"))


@both
def an_unprivileged_container_makes_no_container_and_says_why(p):
    if os.path.basename(p.room.runtime) != "rt" or p.confinement:
        raise Skip("made for one static binary with seccomp")
    folder = bundle(p)
    give(p, folder)
    volumes = f"-v {folder}:/inner -v {p.room.binary}:/bin/rt:ro"
    result = p.fails(f"run --rm {volumes} -w /inner box rt --root /tmp/state run inner", 1, "(not permitted|permission denied)(.|\n)*hint: ")
    assert len(result.err.strip().splitlines()) == 2, str(result)


@user
def without_a_delegated_cgroup_containers_run_and_pause_says_why(p):
    os.mkdir("/sys/fs/cgroup/undelegated")
    try:
        with p.container("--cgroup-parent /undelegated box sleep 100") as c:
            p.expect(f"exec {c} echo runs", "runs")
            p.fails(f"pause {c}", 125, "cgroup")
            p.out(f"stop -t 1 {c}")
    finally:
        os.rmdir("/sys/fs/cgroup/undelegated")


@both
def a_megabyte_goes_through_exec(p):
    text = "0123456789abcdef" * 65536
    with p.container("box sleep 100") as c:
        p.expect(f"exec -i {c} md5sum", hashlib.md5(text.encode()).hexdigest() + "  -", stdin=text)


@both
def a_start_and_removals_at_once_do_no_harm(p):
    with p.container("box sleep 100", verb="create") as c, ThreadPoolExecutor(4) as pool:
        name = p.out(f"inspect -f '{{{{.Id}}}}' {c}")
        lines = [f"start {c}", f"rm -f -t 0 {c}", f"start {c}", f"rm -f -t 0 {c}"]
        list(pool.map(p, lines))
        p(f"rm -f -t 0 {c}")
        p.fails(f"inspect {c}", 125, "no such")
        # One time in fifty podman 4.3 starts what it has just forgotten, and leaves it running; with
        # crun, too. The runtime still has to know how to end it.
        delete_by_hand(p, name)
