"""Actions on the command line that podman and docker share."""

import os
import re
import shlex
import time
from concurrent.futures import ThreadPoolExecutor

import host
from command import set_size

MIB = 1 << 20
# Speaks by itself, so that who attaches knows that he is: what is typed earlier may be lost.
ECHOING = "sh -c 'while :; do echo tick; if read -t 1 line; then echo got $line; [ $line != end ] || exit 6; fi; done'"
TICKING = "box sh -c 'i=0; while :; do i=$((i+1)); echo tick $i; usleep 100000; done'"


def stats_show_use_and_limit(p):
    host.need_controllers("memory", "pids")
    with p.container("-m 64m --pids-limit 50 box sh -c 'sleep 100 & exec sleep 100'") as c:
        shown = p.out(f"stats --no-stream --format '{{{{.MemUsage}}}} pids {{{{.PIDs}}}}' {c}")
        assert re.search(r"[1-9].*i?B / 6[47](\.\d+)?Mi?B pids 2", shown), shown


def top_shows_the_processes(p):
    with p.container("box sh -c 'sleep 77 & exec sleep 78'") as c:
        shown = p.wait_for(f"top {c}", "sleep 77").out
        assert "sleep 78" in shown, shown


def read_limits(p, c):
    return p.out(f"exec {c} sh -c 'cd /sys/fs/cgroup; cat memory.max cpu.max pids.max'").split("\n")


def limits_are_in_force(p):
    host.need_controllers("memory", "cpu", "pids")
    with p.container("-m 64m --memory-swap 64m --cpus 0.5 --pids-limit 20 box sleep 100") as c:
        assert read_limits(p, c) == [str(64 * MIB), "50000 100000", "20"], read_limits(p, c)
        bomb = "i=0; while [ $i -lt 40 ]; do sleep 3 & i=$((i+1)); done; wait"
        result = p(f"exec {c} sh -c '{bomb}'")
        assert "can't fork" in result.err, str(result)


def update_changes_limits(p):
    host.need_controllers("memory", "cpu", "pids")
    with p.container("-m 64m --memory-swap 64m box sleep 100") as c:
        p.out(f"update -m 48m --memory-swap 48m --cpus 0.5 --pids-limit 30 {c}")
        assert read_limits(p, c) == [str(48 * MIB), "50000 100000", "30"], read_limits(p, c)


def pause_freezes(p):
    with p.container(TICKING) as c:
        events = f"{host.cgroup_of(p.pid(c))}/cgroup.events"
        p.out(f"pause {c}")
        assert "frozen 1" in open(events).read()
        p.expect(f"inspect -f '{{{{.State.Status}}}}' {c}", "paused")
        result = p(f"exec {c} true")
        assert result.status != 0, str(result)
        p.out(f"unpause {c}")
        assert "frozen 0" in open(events).read()
        p.expect(f"exec {c} echo again", "again")


def attach(p):
    with p.container(f"-it box {ECHOING}", verb="run -d") as c:
        p.terminal(f"attach {c}", [("tick", "one\n"), ("got one", "end\n"), ("got end", "")])
        p.expect(f"wait {c}", "6")


def attach_leave_and_come_back(p):
    with p.container(f"-it box {ECHOING}", verb="run -d") as c:
        p.terminal(f"attach {c}", [("tick", "one\n"), ("got one", "\x10\x11")])
        p.expect(f"inspect -f '{{{{.State.Running}}}}' {c}", "true")
        p.terminal(f"attach {c}", [("tick", "two\n"), ("got two", "end\n")])
        p.expect(f"wait {c}", "6")


def delete_by_force_leaves_nothing(p):
    with p.container("box sh -c 'sleep 100 & exec sleep 100'") as c:
        pid, name = p.pid(c), p.out(f"inspect -f '{{{{.Id}}}}' {c}")
        cgroup = host.cgroup_of(pid)
        assert name[:12] in cgroup, cgroup
        result = p(f"rm {c}")
        assert result.status != 0, str(result)
        assert left_of(p, name), "no state of it is known"
        p.out(f"rm -f -t 0 {c}")
        assert not os.path.exists(f"/proc/{pid}"), "the payload lives on"
        wait_until(lambda: not os.path.exists(cgroup), f"{cgroup} is left")
        wait_until(lambda: not left_of(p, name), f"left: {left_of(p, name)}")


def left_of(p, container):
    """The folders of a container where runtimes and engines keep what ends with it."""
    tops = {"/run", p.environment().get("XDG_RUNTIME_DIR", "/run")}
    return [path for top in tops for path, _, _ in os.walk(top) if path.endswith(container)]


def wait_until(true, says, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, says
        time.sleep(0.05)


def health_by_interval(p):
    """docker looks by itself; there is no call for it."""
    options = "--health-cmd 'test -e /tmp/well' --health-interval 1s --health-retries 1 --health-timeout 60s"
    with p.container(f"{options} box sleep 1000") as c:
        p.wait_for(f"inspect -f '{{{{.State.Health.Status}}}}' {c}", "^unhealthy")
        p.out(f"exec {c} touch /tmp/well")
        p.wait_for(f"inspect -f '{{{{.State.Health.Status}}}}' {c}", "^healthy")


def namespaces_of_another_container(p):
    with p.container("--ipc=shareable box sh -c 'echo shm > /dev/shm/x; exec sleep 111'") as c:
        shared = f"--pid=container:{c} --ipc=container:{c} --network=container:{c}"
        shown = p.out(f"run --rm {shared} box sh -c 'ps -o pid,args; cat /dev/shm/x; readlink /proc/self/ns/net'")
        assert re.search(r"\b1 sleep 111", shown) and "shm" in shown, shown
        assert os.readlink(f"/proc/{p.pid(c)}/ns/net") in shown, shown


def payloads_status(p):
    p.fails("run --rm box sh -c 'exit 42'", 42)


def killed_by_a_signal(p):
    p.fails("run --rm --init box sh -c 'kill -TERM $$'", 143)
    with p.container("box sleep 100") as c:
        p.out(f"kill {c}")
        p.expect(f"wait {c}", "137")


def refused_by_the_runtime(p):
    p.fails("run --rm --sysctl net.ipv4.ip_forward=never box true", p.runtime_refusal, "ip_forward|invalid argument")


def not_executable_is_126(p):
    words = "permission denied|not permitted|not a regular file|is a directory"
    p.fails("run --rm box /etc", 126, words)
    p.fails("run --rm box /etc/not-a-program", 126, words)
    with p.container("box sleep 100") as c:
        p.fails(f"exec {c} /etc/not-a-program", 126)
        p.fails(f"exec {c} /etc", 126)


def not_found_is_127(p):
    p.fails("run --rm box no-such-program", 127, "not found|no such file")
    p.fails("run --rm box /bin/no-such-program", 127, "not found|no such file")
    with p.container("box sleep 100") as c:
        p.fails(f"exec {c} no-such-program", p.missing_in_exec)
        p.fails(f"exec {c} /bin/no-such-program", p.missing_in_exec)


# The kernel takes a child of the container's init. When it takes init, systemd removes the cgroup at once,
# and whether an engine still reads the reason there is a race with any runtime; so it is just after the
# start, when containerd's shim does not watch yet.
HUNGRY = "sleep 1; dd if=/dev/zero of=/dev/null bs=200M count=1; status=$?; sleep 2; exit $status"


def out_of_memory(p):
    host.need_controllers("memory")
    with p.container(f"-m 24m --memory-swap 24m box sh -c '{HUNGRY}'") as c:
        p.expect(f"wait {c}", "137")
        p.wait_for(f"inspect -f '{{{{.State.OOMKilled}}}}' {c}", "true")


def thirty_at_once(p):
    with ThreadPoolExecutor(30) as pool:
        found = list(pool.map(lambda n: p.out(f"run --rm box echo {n}", timeout=400), range(30)))
    assert found == [str(n) for n in range(30)], found


def a_user_namespace_for_all(p):
    with p.container("box sleep 100") as c:
        assert os.stat(f"/proc/{p.pid(c)}").st_uid == p.host_id(0)
        p.expect(f"exec {c} id -u", "0")
    with p.container("-u 100 box sleep 100") as c:
        assert os.stat(f"/proc/{p.pid(c)}").st_uid == p.host_id(100)


def confined(p):
    shown = p.out("run --rm box sh -c 'sed -n \"s/^Seccomp:.//p; s/^CapEff:.//p\" /proc/self/status; unshare -m true 2>&1; cat /proc/self/attr/current 2>/dev/null'")
    lines = shown.split("\n")
    assert not int(lines[0], 16) >> 21 & 1 and lines[1] == "2", shown
    assert "not permitted" in shown, shown
    if p.root and os.path.isdir("/sys/kernel/security/apparmor"):
        assert re.search(r"\((enforce|kill)\)$", shown), shown
    p.expect("run --rm --cap-drop ALL --cap-add NET_RAW box sed -n 's/^CapEff:.//p' /proc/self/status", "0000000000002000")


def privileged_mounts(p):
    p.expect("run --rm --privileged box sh -c 'mkdir /m; mount -t tmpfs none /m && echo mounted; sed -n \"s/^Seccomp:.//p\" /proc/self/status'",
             "mounted\n0")


def resize(p):
    """The second one counts: docker's client sets the first size after the start, and listens for others later still."""
    line = "run --rm -it box sh -c 'until stty size | grep \"41 99\"; do stty size; usleep 300000; done'"
    dialogue = [("24 80", lambda master: set_size(master, (40, 99))), (r"\d+ \d+", lambda master: set_size(master, (41, 99)))]
    status, shown = p.terminal(line, dialogue)
    assert "41 99" in shown and status == 0, (status, shown)


def steps_of_an_image(p):
    folder = p.folder("build")
    with open(f"{folder}/Dockerfile", "w") as file:
        file.write("FROM box\nRUN echo made by $(id -u) > /made\nUSER 100\nRUN id -u > /tmp/second\nCMD cat /made /tmp/second\n")
    p.out(f"build -q --network=none -t built {folder}", env={"DOCKER_BUILDKIT": "0"})
    p.expect("run --rm built", "made by 0\n100")
    p.out("rmi -f built")


# Opens what runs and is not the image's, and writes through that after its process may have ended, too.
WRITER = """while :; do
  for e in /proc/[0-9]*/exe; do
    case $(readlink $e) in */busybox|"") ;; *)
      (exec 9< $e; for i in 1 2 3 4; do : >> $e && echo wrote; : >> /proc/self/fd/9 && echo wrote; usleep 50000; done) ;;
    esac
  done
done 2> /dev/null"""
INTERPRETER = b"/lib64/ld-linux-x86-64.so.2"


def own_binary_is_never_written(p):
    """The payload is the runtime's own binary, in three ways, or opens it by another process's link."""
    before = open(p.room.binary, "rb").read()
    folder = p.folder("attack", mode=0o777)
    program = open("/bin/true", "rb").read()
    assert INTERPRETER in program
    entries = {"script": b"#!/proc/self/exe\n", "program": program.replace(INTERPRETER, b"/proc/self/exe".ljust(len(INTERPRETER), b"\0"))}
    for name, content in entries.items():
        with open(f"{folder}/{name}", "wb") as file:
            file.write(content)
        os.chmod(f"{folder}/{name}", 0o755)
    with p.container(shlex.join(["--privileged", "box", "sh", "-c", WRITER])) as c:
        for entry in ["/proc/self/exe", "/a/script", "/a/program"]:
            p(f"run --rm --privileged --pid=container:{c} -v {folder}:/a --entrypoint {entry} box --version")
            p(f"exec {c} /proc/self/exe --version")
        assert "wrote" not in p(f"logs {c}").out
        p.expect(f"inspect -f '{{{{.State.Running}}}}' {c}", "true")
    assert open(p.room.binary, "rb").read() == before, "the runtime's binary has changed"
