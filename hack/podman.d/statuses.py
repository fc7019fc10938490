"""Exit statuses and the errors from which podman makes them."""

import os
import re
from contextlib import contextmanager

from case import Skip, both


@both
def the_payloads_status_is_podmans(p):
    p.fails("run --rm box sh -c 'exit 42'", 42)
    p.fails("run --rm box sh -c 'sh -c \"kill -ABRT \\$\\$\"; exit $?'", 134)


@both
def a_bad_call_of_podman_gives_125(p):
    p.fails("run --no-such-option box true", 125)


def refusals(p):
    p.fails("run --rm box no-such-program", 127, "not found|no such file")
    p.fails("run --rm box /bin/no-such-program", 127, "not found|no such file")
    p.fails("run --rm box /etc", 126, "permission denied|not permitted|not a regular file")
    p.fails("run --rm box /etc/not-a-program", 126, "permission denied|not permitted")
    with p.container("box sleep 100") as c:
        p.fails(f"exec {c} no-such-program", 127, "not found|no such file")
        p.fails(f"exec {c} /etc", 126, "permission denied|not permitted|not a regular file")
        p.fails(f"exec -w /no/such/folder {c} true", 127, "no such file|chdir")


@both
def absent_programs_give_127_and_folders_126(p):
    refusals(p)


@both
def the_same_statuses_by_standard_error_alone(p):
    before, p.config = p.config, f"{p.dir}/plain.conf"
    try:
        refusals(p)
    finally:
        p.config = before


@both
def the_runtime_can_be_named_by_its_path(p):
    before, p.options = p.options, ["--runtime", p.room.runtime, *p.options]
    try:
        p.expect("run --rm box echo by path", "by path")
    finally:
        p.options = before


@both
def an_error_of_the_runtime_comes_once_and_says_where(p):
    result = p.fails("run --rm --mount type=tmpfs,destination=/proc/sys box true", 126, "/proc/sys|proc")
    assert len(result.err.strip().splitlines()) <= 3, str(result)


@both
def a_script_without_an_interpreter_is_refused(p):
    folder = p.folder("scripts")
    with open(f"{folder}/run", "w") as file:
        file.write("#!/no/such/shell\n")
    os.chmod(f"{folder}/run", 0o755)
    result = p(f"run --rm -v {folder}:/scripts box /scripts/run")
    assert result.status in (126, 127) or (result.status == 1 and "no such file" in result.err.lower()), str(result)


@contextmanager
def room_for_state(p):
    before = set(os.listdir(p.state)) if os.path.isdir(p.state) else set()
    yield
    after = set(os.listdir(p.state)) if os.path.isdir(p.state) else set()
    assert after <= before, f"left in {p.state}: {sorted(after - before)}"


@both
def a_failed_start_leaves_nothing(p):
    with room_for_state(p):
        p("run --rm box no-such-program")
        p("run --name failed --mount type=tmpfs,destination=/proc/sys box true")
        p.out("rm -f failed")
    assert not re.search("failed", p.out("ps -a --format '{{.Names}}'"))


@both
def a_limit_that_cannot_be_set_is_an_error_by_name(p):
    if "memory" in open("/sys/fs/cgroup/cgroup.controllers").read():
        raise Skip("the memory controller is here")
    result = p("run --rm --memory 64m box true")
    assert result.status != 0 and "memory" in result.err, str(result)


@both
def the_runtimes_name_and_version_are_known_to_podman(p):
    name = os.path.basename(p.room.runtime)
    p.expect("info -f '{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Version}}'", re.compile(rf"^{name} .*version "))
