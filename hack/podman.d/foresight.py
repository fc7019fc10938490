"""Whether `rt check` is right: a program in the runtime's place asks it before each create and run.

A false alarm, that is an error that it finds in a bundle which then starts, fails the test. What it did not
foresee is told: it cannot know all.
"""

import glob
import os

SCRIPT = """#!/bin/sh
# The arguments are those of engines: no path of theirs has a blank.
rt={rt} notes={notes}
verb= globals= bundle=. before=
for word do
    case $verb:$before:$word in
    :--root:* | :--cgroup-manager:* | :--rootless:*) globals="$globals $before $word" ;;
    :--log:* | :--log-format:* | :--log-level:*) ;;
    ::--root=* | ::--cgroup-manager=* | ::--rootless=* | ::--systemd-cgroup) globals="$globals $word" ;;
    ::--root | ::--cgroup-manager | ::--rootless | ::--log | ::--log-format | ::--log-level) before=$word; continue ;;
    ::-*) ;;
    ::create | ::run | ::start) verb=$word ;;
    ::*) exec "$rt" "$@" ;;
    *:--bundle:* | *:-b:*) bundle=$word ;;
    *::--bundle=*) bundle=${{word#--bundle=}} ;;
    *::--bundle | *::-b) before=$word; continue ;;
    esac
    before=
done
[ -n "$verb" ] || exec "$rt" "$@"
if [ "$verb" = start ]; then
    alarm=$notes/alarm.$word
    [ -e "$alarm" ] || exec "$rt" "$@"
    "$rt" "$@"
    status=$?
    [ $status != 0 ] || mv "$alarm" "$notes/false.$word"
    exit $status
fi
alarm=$notes/alarm.$word
{{ "$rt" $globals check --bundle "$bundle" && rm "$alarm"; }} >"$alarm" 2>&1 </dev/null
"$rt" "$@"
status=$?
if [ -e "$alarm" ]; then
    [ "$verb:$status" != run:0 ] || mv "$alarm" "$notes/false.$word"
elif [ "$verb" = create ] && [ $status != 0 ]; then
    echo "$*" >"$notes/unforeseen.$word"
fi
exit $status
"""


def install(work, runtime):
    """Puts the program in the place of `runtime`, which it calls."""
    notes = f"{work}/foresight"
    os.mkdir(notes)
    os.chmod(notes, 0o1777)
    real = f"{work}/real"
    os.mkdir(real, 0o755)
    rt = f"{real}/{os.path.basename(runtime)}"
    os.rename(runtime, rt)
    with open(runtime, "w") as file:
        file.write(SCRIPT.format(rt=rt, notes=notes))
    os.chmod(runtime, 0o755)


def behind(work, runtime):
    """The runtime itself, whoever is in its place."""
    real = f"{work}/real/{os.path.basename(runtime)}"
    return real if os.path.exists(real) else runtime


def taken(work, kind):
    """The notes of that kind since the last time."""
    texts = []
    for path in glob.glob(f"{work}/foresight/{kind}.*"):
        with open(path) as file:
            texts.append(file.read())
        os.remove(path)
    return texts
