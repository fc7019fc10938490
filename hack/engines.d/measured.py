"""Outside: starts the machines, reads what they print, keeps the results and writes docs/compat.md."""

import json
import os
import re
import subprocess
import sys

import actions
import engines
import host

HERE = os.path.dirname(os.path.realpath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
KEPT = os.path.join(HERE, "measured.json")
PAGE = os.path.join(TREE, "docs", "compat.md")
RESULT = re.compile(r"^(ok|not ok) \d+ - (\S+) / (\S+) / (.+?) \([\d.]+ s\)(?: # skip (.*))?$")
ABOUT = re.compile(r"^# (\S+) / (\S+): (.*)$")
SKIPPED = 77
KINDS = {"uml": "User Mode Linux", "tcg": "QEMU"}


def command(options, kind, names, only, account):
    words = ["hack/engines", "--guest", "--manager", options.manager, "--patience", str(options.patience), *names]
    words += [word for runtime in options.runtime for word in ("--runtime", runtime)]
    words += ["--only", only] if only else []
    words += ["--verbose"] if options.verbose else []
    rt = ["--program", f"rt={options.rt}"] if options.rt else []
    machine = [os.path.join(TREE, "hack", "vm"), "--engine", kind, "--limit", str(options.limit), "--memory", "3072", *rt]
    return [*machine, *(["--user"] if account == "user" else []), "--", *words]


def run(options):
    """Runs all machines; returns the exit status."""
    found, statuses = Results(), []
    for kind in ["uml", "tcg"] if options.vm == "both" else [options.vm]:
        found.where = f"{KINDS[kind]}, {options.manager}"
        for account in ["root", "user"]:
            names, only = [name for name in options.engine if engines.ENGINES[name].account == account], options.only
            if options.vm == "both" and kind == "tcg":
                names, only = found.left_for_a_whole_kernel(names)
            if names:
                statuses.append(stream(command(options, kind, names, only, account), found))
    if set(statuses) == {SKIPPED}:
        return SKIPPED
    kept = load()
    worse = found.worse_than(kept)
    for line in worse:
        print(f"not as good as others: {line}")
    if options.write:
        kept.update(found.merged(kept))
        with open(KEPT, "w") as file:
            json.dump(kept, file, indent=1, sort_keys=True)
            file.write("\n")
        write_page()
    cells = [cell["verdict"] for cells in found.cells.values() for cell in cells.values()]
    print(f"{cells.count('ok')} passed, {len(worse)} failed, {cells.count('skipped')} skipped")
    broken = [status for status in statuses if status not in (0, 1, SKIPPED)]
    return broken[0] if broken else 1 if worse or not found.cells else 0


def stream(words, found):
    """Shows what the machine prints as it comes, and reads it."""
    machine = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace", cwd=TREE)
    for line in machine.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        found.read(line.rstrip("\n"))
    return machine.wait()


class Results:
    """Verdict, reason and place by "engine / runtime" and action."""

    def __init__(self):
        self.where, self.cells, self.versions, self.last = "", {}, {}, None

    def read(self, line):
        if result := RESULT.match(line):
            verdict, engine, runtime, action, skip = result.groups()
            verdict = "skipped" if skip else "ok" if verdict == "ok" else "fails"
            self.last = {"verdict": verdict, "reason": skip or "", "where": self.where}
            keep(self.cells.setdefault(f"{engine} / {runtime}", {}), action, self.last)
        elif about := ABOUT.match(line):
            self.versions[f"{about[1]} / {about[2]}"] = about[3]
        elif self.last and self.last["verdict"] == "fails" and line.startswith("  # "):
            self.last["reason"] += line[4:] + "\n"

    def merged(self, kept):
        """The results that were kept, with those of this run in their place."""
        made = {}
        for name, cells in self.cells.items():
            actions_of = dict(kept.get(name, {}).get("actions", {}))
            for action, cell in cells.items():
                keep(actions_of, action, {**cell, "reason": short(cell["reason"])})
            made[name] = {"versions": self.versions.get(name, ""), "actions": actions_of}
        return made

    def left_for_a_whole_kernel(self, names):
        """The engines of which User Mode Linux could not do all, and what it could not."""
        lacking = {
            (name.split(" / ")[0], action) for name, cells in self.cells.items() for action, cell in cells.items()
            if "User Mode Linux" in cell["reason"] or action == "confinement"
        }  # fmt: skip
        names = [name for name in names if any(name == engine for engine, _ in lacking)]
        return names, ",".join(sorted({action for engine, action in lacking if engine in names}))

    def worse_than(self, kept):
        """Where rt fails, and crun or runc did not when they were measured."""
        found = []
        for name, cells in self.cells.items():
            engine, runtime = name.split(" / ")
            for action, cell in cells.items():
                if runtime == "rt" and cell["verdict"] == "fails":
                    others = [kept.get(f"{engine} / {other}", {}).get("actions", {}).get(action, {}) for other in ("crun", "runc")]
                    if any(other.get("verdict") == "ok" for other in others) or not any(others):
                        found.append(f"{name} / {action}")
        return found


def keep(cells, action, cell):
    """What was skipped does not take the place of what was measured on another kind of machine."""
    before = cells.get(action)
    if not before or before["where"] == cell["where"] or cell["verdict"] != "skipped":
        cells[action] = cell


def short(reason):
    """One line of a reason: the end of the last that says something, without what differs from run to run."""
    lines = [line.strip() for line in reason.splitlines() if re.search(r"\w{3}", line)]
    said = [line for line in lines if re.match("err: .*\\w|never |not done|.*Error", line)] or lines
    line = re.sub(r"[0-9a-f]{12,}", "ID", said[-1]) if said else ""
    line = re.sub(r"/tmp/rt-engines\.\w+", "…", line)
    return line if len(line) <= 160 else "…" + line[-159:]


def load():
    if not os.path.exists(KEPT):
        return {}
    with open(KEPT) as file:
        return json.load(file)


def write_page():
    kept = load()
    lines = [
        "# What works under which engine", "",
        "Written by `hack/engines --write`: real engines, one list of actions, three runtimes. rt is measured each time; crun and runc were",
        "measured once, with the versions in the tables. `–`: the engine has no such thing, or it was not asked of it. Numbers point to the reasons below",
        "each table.", "",
        "| action | what has to happen |", "|---|---|",
        *(f"| {name} | {says} |" for name, says in actions.ACTIONS.items()),
    ]  # fmt: skip
    for name, engine in engines.ENGINES.items():
        lines += table(name, engine, kept)
    with open(PAGE, "w") as file:
        file.write("\n".join(lines) + "\n")


def table(name, engine, kept):
    columns = [(runtime, kept.get(f"{name} / {runtime}")) for runtime in host.RUNTIMES]
    if not any(column for _, column in columns):
        return []
    reasons, rows = [], []
    for action in actions.ACTIONS:
        cells = [column["actions"].get(action) if column else None for _, column in columns]
        if action in engine.tests and any(cells):
            rows.append(f"| {action} | " + " | ".join(shown(cell, reasons) for cell in cells) + " |")
    made = ["", f"## {engine.title[0].upper()}{engine.title[1:]}", ""]
    for runtime, column in columns:
        if column:
            places = sorted({cell["where"] for cell in column["actions"].values()})
            made.append(f"* {runtime}: {column['versions']} ({'; '.join(places)})")
    made += ["", "| | rt | crun | runc |", "|---|---|---|---|", *rows]
    made += ["", *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))] if reasons else []
    return made


def shown(cell, reasons):
    if not cell:
        return "–"
    if cell["verdict"] == "ok":
        return "ok"
    if cell["reason"] not in reasons:
        reasons.append(cell["reason"])
    return f"{cell['verdict']} ({reasons.index(cell['reason']) + 1})"
