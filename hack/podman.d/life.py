"""The life of a container: run, start, stop, signals, pause, exec, logs, removal."""

import json
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from case import both
from command import host_process


@both
def run_shows_what_the_payload_prints(p):
    result = p("run --rm box sh -c 'echo to-out; echo to-err >&2'")
    assert (result.out, result.status) == ("to-out\n", 0), str(result)
    assert result.err == "to-err\n", str(result)


@both
def run_gives_its_standard_input_to_the_payload(p):
    p.expect("run --rm -i box cat", "some text\nand more", stdin="some text\nand more\n")


@both
def run_of_much_output_loses_nothing(p):
    p.expect("run --rm box sh -c 'seq 1 20000 | md5sum; seq 1 20000'", re.compile(r"\n19999\n20000$"))


@both
def a_limit_of_time_ends_the_container(p):
    p.fails("run --rm --timeout 1 box sleep 1000", 255)


@both
def signals_of_podman_run_reach_the_payload(p):
    name = "signalled"
    script = "trap 'exit 7' USR1; echo up; while :; do sleep 0.05; done"
    argv = p.argv(["run", "--rm", "--name", name, "box", "sh", "-c", script])[1]
    run = subprocess.Popen(argv, cwd=p.home, env=p.environment(), stdout=subprocess.DEVNULL, **p.account())
    try:
        p.wait_for(f"logs {name}", "up")
        run.send_signal(signal.SIGUSR1)
        assert run.wait(p.patience_seconds) == 7, run.returncode
    finally:
        run.kill()
        p(f"rm -f -t 0 --ignore {name}")


@both
def a_detached_container_has_logs_and_a_status(p):
    with p.container("box sh -c 'echo one; echo two >&2; exit 5'") as c:
        p.expect(f"wait {c}", "5")
        result = p(f"logs {c}")
        assert (result.out, result.err) == ("one\n", "two\n"), str(result)
        p.expect(f"inspect -f '{{{{.State.Status}}}} {{{{.State.ExitCode}}}}' {c}", "exited 5")


@both
def logs_follow_a_running_container(p):
    with p.container("box sh -c 'for i in 1 2 3; do echo line $i; sleep 0.2; done'") as c:
        p.expect(f"logs -f {c}", "line 1\nline 2\nline 3")


@both
def create_start_and_start_again(p):
    with p.container("box sh -c 'echo ran as $$'", verb="create") as c:
        p.expect(f"inspect -f '{{{{.State.Status}}}}' {c}", re.compile("created|configured"))
        p.expect(f"start -a {c}", "ran as 1")
        p.expect(f"start -a {c}", "ran as 1")


@both
def init_creates_without_starting(p):
    with p.container("box sh -c 'echo ran'", verb="create") as c:
        p.out(f"init {c}")
        p.expect(f"inspect -f '{{{{.State.Status}}}}' {c}", re.compile("created|initialized"))
        p.expect(f"start -a {c}", "ran")


@both
def exec_runs_beside_the_payload(p):
    with p.container("-e A=1 --hostname inside box sleep 100") as c:
        p.expect(f"exec {c} sh -c 'hostname; echo $A; readlink /proc/1/exe; pwd'", "inside\n1\n/bin/busybox\n/")
        p.expect(f"exec -i {c} cat", "typed", stdin="typed\n")
        p.fails(f"exec {c} sh -c 'exit 9'", 9)
        p.fails(f"exec {c} sh -c 'kill -KILL $$'", 137)


@both
def exec_takes_user_folder_and_environment(p):
    with p.container("box sleep 100") as c:
        p.expect(f"exec -u 100:102 -w /tmp -e B=2 {c} sh -c 'id -u; id -g; pwd; echo $B'", "100\n102\n/tmp\n2")
        p.expect(f"exec -u guest {c} id", re.compile(r"^uid=100\(guest\) gid=101\(guest\) groups=.*102\(friends\)$"))
        full = int(p.out(f"exec --privileged {c} sed -n 's/CapEff:.//p' /proc/self/status"), 16)
        assert full >> 21 & 1, f"no CAP_SYS_ADMIN in {full:x}"
        few = int(p.out(f"exec {c} sed -n 's/CapEff:.//p' /proc/self/status"), 16)
        assert not few >> 21 & 1, f"CAP_SYS_ADMIN in {few:x}"


@both
def exec_in_the_background_goes_on(p):
    with p.container("box sleep 100") as c:
        p.out(f"exec -d {c} sh -c 'echo done > /tmp/mark'")
        p.wait_for(f"exec {c} cat /tmp/mark", "done")


@both
def exec_sessions_leave_no_zombie_and_no_process(p):
    with p.container("box sleep 100") as c:
        for _ in range(3):
            p.out(f"exec {c} true")
        shown = p.out(f"exec {c} ps -o pid,stat,args").splitlines()
        assert len(shown) == 3, shown


@both
def stop_asks_first(p):
    with p.container("box sh -c 'trap \"echo bye; exit 3\" TERM; echo up; while :; do sleep 0.05; done'") as c:
        p.wait_for(f"logs {c}", "up")
        started = time.monotonic()
        p.out(f"stop -t 20 {c}")
        assert time.monotonic() - started < 10, "stop waited for its time limit"
        p.expect(f"wait {c}", "3")
        p.expect(f"logs {c}", "up\nbye")


@both
def stop_kills_what_does_not_listen(p):
    with p.container("box sleep 100") as c:
        p.out(f"stop -t 1 {c}")
        p.expect(f"wait {c}", "137")


@both
def stop_uses_the_stop_signal(p):
    with p.container("--stop-signal USR2 box sh -c 'trap \"exit 4\" USR2; echo up; while :; do sleep 0.05; done'") as c:
        p.wait_for(f"logs {c}", "up")
        p.out(f"stop -t 20 {c}")
        p.expect(f"wait {c}", "4")


@both
def kill_sends_the_signal(p):
    line = "box sh -c 'trap \"echo usr1\" USR1; trap \"exit 6\" HUP; echo up; while :; do sleep 0.05; done'"
    with p.container(line) as c:
        p.wait_for(f"logs {c}", "up")
        p.out(f"kill -s USR1 {c}")
        p.wait_for(f"logs {c}", "usr1")
        p.out(f"kill -s SIGHUP {c}")
        p.expect(f"wait {c}", "6")
        p.fails(f"kill {c}", p.refusal, "container state improper|not running|can only kill running")


@both
def kill_ends_a_container_and_wait_says_137(p):
    with p.container("box sleep 100") as c:
        p.out(f"kill {c}")
        p.expect(f"wait {c}", "137")


@both
def rm_needs_force_for_a_running_container(p):
    with p.container("box sleep 100") as c:
        p.fails(f"rm {c}", 2, "running")
        pid = p.pid(c)
        p.out(f"rm -f -t 0 {c}")
        assert not os.path.exists(f"/proc/{pid}"), "the payload lives on"
        assert p(f"container exists {c}").status == 1


@both
def restart_makes_a_new_process_of_the_same_container(p):
    with p.container("box sh -c 'echo x >> /tmp/starts; sleep 100'") as c:
        before = p.pid(c)
        p.out(f"restart -t 0 {c}")
        assert p.pid(c) != before
        p.wait_for(f"exec {c} cat /tmp/starts", "x\nx\n")


@both
def a_payload_that_dies_alone_is_noticed(p):
    with p.container("box sh -c 'sleep 0.3; exit 8'") as c:
        p.expect(f"wait {c}", "8")
        p.expect(f"ps -a --filter name={c}$ --format '{{{{.Status}}}}'", re.compile(r"Exited \(8\)"))


@both
def a_container_restarts_by_its_policy(p):
    with p.container("--restart on-failure:2 box sh -c 'echo try >> /tmp/tries; exit 1'") as c:
        p.wait_for(f"inspect -f '{{{{.RestartCount}}}} {{{{.State.Status}}}}' {c}", "2 exited")
        p.expect(f"cp {c}:/tmp/tries -", re.compile("try\ntry\ntry\n"))


@both
def pause_stops_all_and_unpause_goes_on(p):
    with p.container("box sh -c 'n=0; while n=$((n+1)); do echo $n > /tmp/new; mv /tmp/new /tmp/now; sleep 0.02; done'") as c:
        p.wait_for(f"exec {c} cat /tmp/now", r"\d")
        p.out(f"pause {c}")
        p.expect(f"ps -a --filter name={c}$ --format '{{{{.Status}}}}'", re.compile("[Pp]aused"))
        first = p.out(f"cp --pause=false {c}:/tmp/now -")
        time.sleep(0.2)
        assert p.out(f"cp --pause=false {c}:/tmp/now -") == first, "the payload still runs"
        p.fails(f"exec {c} true", 255, "paused|improper|running")
        p.out(f"unpause {c}")
        count = re.search(r"(\d+)\n", first)[1]  # in an archive
        p.wait_for(f"exec {c} cat /tmp/now", rf"^(?!{count}\n)\d+\n")
        p.out(f"pause {c}")
        # Removal has to thaw it or kill it frozen.
        p.out(f"rm -f -t 0 {c}")


@both
def top_shows_the_processes(p):
    with p.container("--hostname h box sh -c 'sleep 77 & sleep 78'") as c:
        shown = p.out(f"top {c} pid hpid args")
        assert re.search(r"\n1\s+\d+\s+", shown) and "sleep 77" in shown and "sleep 78" in shown, shown


@both
def inspect_names_the_init_on_the_host(p):
    with p.container("box sleep 123") as c:
        pid = p.pid(c)
        assert host_process(pid)[2] == ["sleep", "123"], host_process(pid)
        state = json.loads(p.out(f"inspect {c}"))[0]
        assert state["State"]["Running"] and state["OCIRuntime"], state["State"]


@both
def wait_waits_for_many(p):
    with p.container("box sh -c 'sleep 0.3; exit 2'") as one, p.container("box sh -c 'exit 4'") as two:
        p.expect(f"wait {one} {two}", "2\n4")


@both
def a_health_check_sees_health_and_illness(p):
    options = "--health-cmd 'test -e /tmp/well' --health-interval disable --health-retries 1"
    with p.container(f"{options} box sleep 100") as c:
        p.fails(f"healthcheck run {c}", 1)
        p.out(f"exec {c} touch /tmp/well")
        p.out(f"healthcheck run {c}")


@both
def ten_containers_at_once(p):
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda n: p.out(f"run --rm box sh -c 'sleep 0.1; echo {n}'", timeout=90), range(10)))
    assert found == [str(n) for n in range(10)], found


@both
def many_exec_at_once(p):
    with p.container("box sleep 100") as c, ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: p.out(f"exec {c} echo {n}", timeout=90), range(6)))
    assert found == [str(n) for n in range(6)], found


@both
def an_init_process_is_put_before_the_payload(p):
    p.expect("run --rm --init box sh -c 'echo $$; grep Name /proc/1/status'", re.compile(r"^[2-9]\d*\nName:"))


@both
def commit_and_run_what_was_committed(p):
    with p.container("box sh -c 'echo kept > /etc/kept; sleep 100'") as c:
        p.wait_for(f"exec {c} cat /etc/kept", "kept")
        p.out(f"commit -q {c} committed")
        p.expect("run --rm committed cat /etc/kept", "kept")
        p.out("rmi committed")
