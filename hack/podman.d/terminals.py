"""run -it, exec -it, attach: what somebody at a terminal sees."""

import re

from case import both
from command import set_size


@both
def a_shell_on_a_terminal(p):
    status, shown = p.terminal("run --rm -it box sh", [("# ", "tty; echo $((40+2))\n"), ("42", "exit 3\n")])
    assert status == 3 and re.search("/dev/(console|pts/0)", shown), (status, shown)


@both
def the_terminals_size_is_that_of_the_caller(p):
    _, shown = p.terminal("run --rm -it box sh -c 'sleep 0.3; stty size'", [], size=(31, 117))
    assert "31 117" in shown, shown


@both
def a_resize_reaches_the_payload(p):
    line = "run --rm -it box sh -c 'trap \"stty size; exit\" WINCH; echo up; while :; do sleep 0.05; done'"
    status, shown = p.terminal(line, [("up", lambda master: set_size(master, (40, 99)))])
    assert "40 99" in shown and status == 0, (status, shown)


@both
def interrupt_typed_on_a_terminal_reaches_the_payload(p):
    line = "run --rm -it box sh -c 'trap \"exit 5\" INT; echo up; while :; do sleep 0.05; done'"
    status, shown = p.terminal(line, [("up", "\x03")])
    assert status == 5, (status, shown)


@both
def exec_on_a_terminal(p):
    with p.container("box sleep 100") as c:
        status, shown = p.terminal(f"exec -it {c} sh", [("# ", "tty; stty size\n"), ("24 80", "exit 7\n")])
        assert status == 7 and "/dev/pts/" in shown, (status, shown)


@both
def exec_on_a_terminal_as_another_user(p):
    with p.container("box sleep 100") as c:
        dialogue = [("[#$] ", "id -u; echo x > $(tty) && echo opened\n"), ("opened", "exit\n")]
        status, shown = p.terminal(f"exec -it -u 100 {c} sh", dialogue)
        assert "100" in shown, shown


@both
def attach_sees_and_types(p):
    with p.container("-it box sh -c 'while read line; do echo got $line; done'", verb="run -d") as c:
        status, shown = p.terminal(f"attach {c}", [("", "hello\n"), ("got hello", "\x04")])
        assert status == 0, (status, shown)


@both
def attach_can_be_left_by_its_keys(p):
    with p.container("-it box sh -c 'while :; do echo tick; sleep 0.1; done'", verb="run -d") as c:
        p.terminal(f"attach {c}", [("tick", "\x10\x11")])
        p.expect(f"inspect -f '{{{{.State.Running}}}}' {c}", "true")


@both
def start_attached_on_a_terminal(p):
    with p.container("-it box sh -c 'read x; echo $x; exit 4'", verb="create") as c:
        status, shown = p.terminal(f"start -ai {c}", [("", "typed\n"), (r"typed\r\ntyped", "")])
        assert status == 4, (status, shown)


@both
def a_terminal_without_standard_input(p):
    p.expect("run --rm -t box sh -c 'test -t 1 && echo is a terminal'", re.compile("is a terminal"))


@both
def a_user_other_than_root_owns_the_terminal(p):
    _, shown = p.terminal("run --rm -it -u 100 box sh -c 'stat -c %u $(tty); echo w > /dev/tty; echo v > /dev/stderr'", [])
    assert re.search(r"100\r\nw\r\nv", shown), shown


@both
def a_user_other_than_root_can_open_its_streams(p):
    p.expect("run --rm -u 100 box sh -c 'echo a > /dev/stdout; echo b > /proc/self/fd/1'", "a\nb")


@both
def passed_through_streams(p):
    p.expect("run --rm --log-driver passthrough box echo direct", "direct")
