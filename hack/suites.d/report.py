"""What a suite said of each test, against the list of what rt is meant to do otherwise.

The list, hack/suites.d/SUITE.toml, has entries of two kinds, each with a `reason` and `tests`, the names as they are
printed without the world; `worlds` and `places` (tcg, uml, here) bind an entry to some of them:

    [[deviation]]   rt does this otherwise, and means to
    [[place]]       fails with the project's own runtime, too: the place lacks something, or the test is at fault
"""

import os
import re
import sys
import tomllib

MODULES = os.path.dirname(os.path.realpath(__file__))
RESULT = re.compile(r"^(ok|not ok) \d+ - (\S+) / (.*?)(?: # skip ?(.*))?$", re.IGNORECASE)
# Added by bats to a name.
TIMEOUT = re.compile(r" # timeout after \d+s$")


class Report:
    def __init__(self, suite, place, listed):
        self.place, self.entries = place, []
        self.passed = self.failed = self.expected = 0
        self.skips, self.wrong = {}, []
        path = os.path.join(MODULES, f"{suite}.toml")
        if listed and os.path.exists(path):
            with open(path, "rb") as file:
                content = tomllib.load(file)
            self.entries = content.get("deviation", []) + content.get("place", [])

    def reason(self, world, name):
        """Why a test is expected to fail, or None."""
        for entry in self.entries:
            if name in entry["tests"] and world in entry.get("worlds", [world]) and self.place in entry.get("places", [self.place]):
                return entry["reason"]
        return None

    def read(self, line):
        result = RESULT.match(line)
        if not result:
            print(line, flush=True)
            return
        verdict, world, name, skip = result.groups()
        reason = self.reason(world, TIMEOUT.sub("", name))
        if skip is not None:
            self.skips[skip] = self.skips.get(skip, 0) + 1
        elif verdict == "ok" and not reason:
            self.passed += 1
        elif verdict == "ok":
            self.failed += 1
            self.wrong.append(f"{world} / {name}: is listed and passes")
        elif reason:
            self.expected += 1
            line += f" # as listed: {reason}"
        else:
            self.failed += 1
            self.wrong.append(f"{world} / {name}")
        print(line, flush=True)

    def end(self, status):
        """Prints the sums; returns the exit status."""
        for reason, count in sorted(self.skips.items(), key=lambda pair: -pair[1]):
            print(f"skipped {count}: {reason or 'no reason given'}")
        for line in self.wrong:
            print(f"unexpected: {line}")
        print(f"{self.passed} passed, {self.failed} failed, {sum(self.skips.values())} skipped, {self.expected} fail as listed")
        if status:
            print(f"hack/suites: the run itself ended with status {status}", file=sys.stderr)
        return status or (1 if self.failed or not self.passed else 0)
