#!/usr/bin/env python3
"""Runs the validation programs of runtime-tools where they are to run: in the lab's guest, or in a room of this machine.

As root. Prints TAP, a line for each result of each program: `ok N - root / PROGRAM: NUMBER WORDS`; for a program that
ends with another status than 0 one more, and for one that has no results, only errors to print, its end.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

PROGRAM_SECONDS = 120
# Whether these pass is chance.
RACES = {
    "killsig": "it sends a signal to a program that may not have set its trap yet",
    "poststart": "it wants a line of the payload's before the hook's, and nobody waits for that",
}
RESULT = re.compile(r"^(ok|not ok) (\d+) (?:- )?(.*)$", re.MULTILINE)
WORD = re.compile(r"# (SKIP|TODO) ?(.*)$")


def parse():
    options = argparse.ArgumentParser(prog="oci_inside.py", description=__doc__)
    options.add_argument("--suite", required=True, help="the folder of the programs and what they run")
    options.add_argument("--runtime", required=True)
    options.add_argument("filter", nargs="*", help="PROGRAM")
    return options.parse_args()


def run(options, program):
    """Its status, and what it said."""
    place = tempfile.mkdtemp(prefix="oci-suite.")
    os.chmod(place, 0o755)
    settings = {**os.environ, "RUNTIME": shutil.which(options.runtime) or options.runtime, "TMPDIR": place}
    command = ["timeout", "-s", "KILL", str(PROGRAM_SECONDS), os.path.join(options.suite, "programs", program)]
    try:
        ended = subprocess.run(command, cwd=options.suite, env=settings, stdin=subprocess.DEVNULL, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", check=False)  # fmt: skip
        return ended.returncode, ended.stdout.replace(place, "TMP")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def results(program, status, said):
    """(verdict, name, why it was skipped or None)"""
    found = RESULT.findall(said)
    for verdict, number, words in found:
        word = WORD.search(words)
        if word and word[1] == "TODO":
            yield "ok", f"{program}: {number} {WORD.sub('', words).strip()}", f"to do: {word[2]}"
        else:
            yield verdict, f"{program}: {number} {WORD.sub('', words).strip()}", word and word[2]
    if status:
        yield "not ok", f"{program}: status {status}", None
    elif not found:
        yield "ok" if '"error"' not in said else "not ok", f"{program}: its end", None


def main():
    options = parse()
    options.suite = os.path.abspath(options.suite)
    number = 0
    for program in sorted(os.listdir(os.path.join(options.suite, "programs"))):
        if options.filter and program not in options.filter:
            continue
        if program in RACES:
            number += 1
            print(f"ok {number} - root / {program}: its end # skip {RACES[program]}", flush=True)
            continue
        status, said = run(options, program)
        failed = False
        for verdict, name, skip in results(program, status, said):
            number += 1
            failed |= verdict == "not ok"
            print(f"{verdict} {number} - root / {name}{'' if skip is None else f' # skip {skip}'}", flush=True)
        if failed:
            print("".join(f"  {line}\n" for line in said.splitlines() if not RESULT.match(line)), end="", flush=True)
    print(f"1..{number}")
    return 0


sys.exit(main())
