"""Where the engines are: opens them one after the other and runs their actions."""

import time
import traceback

import actions
import engines
import foresight
import host
from case import Skip


def wanted(options, tests):
    only = options.only.split(",") if options.only else actions.ACTIONS
    return [name for name in actions.ACTIONS if name in tests and name in only]


class Report:
    """Lines of TAP that say engine, runtime and action, and the sums."""

    def __init__(self):
        self.number, self.sums = 0, {"ok": 0, "fails": 0, "skipped": 0}

    def line(self, engine, runtime, action, verdict, reason, seconds):
        self.number += 1
        self.sums[verdict] += 1
        start = "not ok" if verdict == "fails" else "ok"
        why = " # skip " + " ".join(reason.split()) if verdict == "skipped" else ""
        print(f"{start} {self.number} - {engine} / {runtime} / {action} ({seconds:.1f} s){why}", flush=True)
        if verdict == "fails":
            print("".join(f"  # {line}\n" for line in reason.strip().splitlines()[:40]), end="", flush=True)

    def all_of(self, names, engine, runtime, verdict, reason):
        for name in names:
            self.line(engine, runtime, name, verdict, reason, 0)


def run(options, work):
    return run_in(options, lambda runtime: host.Place(work, runtime), lambda name: engines.ENGINES[name].opened)


def run_in(options, place_of, opener_of):
    """All engines with all runtimes; returns the exit status."""
    report = Report()
    for name in options.engine:
        for runtime in options.runtime:
            names = wanted(options, engines.ENGINES[name].tests)
            try:
                place = place_of(runtime)
                about = f"{engines.ENGINES[name].versions()}, {runtime} {host.version(place.runtime)}"
                print(f"# {name} / {runtime}: {about}", flush=True)
                with opener_of(name)(place, options.manager, options.verbose) as opened:
                    act(report, opened, place, name, names, options.patience)
            except Skip as reason:
                report.all_of(names, name, runtime, "skipped", str(reason))
            except Exception:
                # The engine did not open, or not close: what was not run fails.
                print("".join(f"  # {line}\n" for line in traceback.format_exc().splitlines()), end="", flush=True)
                report.all_of(names, name, runtime, "fails", "the engine does not start")
    sums = report.sums
    print(f"{sums['ok']} passed, {sums['fails']} failed, {sums['skipped']} skipped")
    return 1 if sums["fails"] else 0


def act(report, opened, place, name, names, patience):
    """Takes the names of the actions one by one from the list."""
    while names:
        started = time.monotonic()
        verdict, reason = actions.measure(opened, engines.ENGINES[name].tests[names[0]], patience)
        for alarm in foresight.taken(place.work, "false"):
            verdict, reason = "fails", f"{reason}\nrt check finds in a bundle that starts:\n{alarm}"
        report.line(name, place.name, names.pop(0), verdict, reason, time.monotonic() - started)
