"""What a test is: a function with a sentence for a name, and for whom it runs."""

import traceback

TESTS = []


class Skip(Exception):
    """What the test needs is not here; the text says what."""


class Test:
    def __init__(self, function, who):
        self.function, self.who = function, who
        self.name = function.__name__.replace("_", " ")

    def run(self, podman):
        """Returns passed, skipped or failed, and the reason."""
        try:
            self.function(podman)
            return "passed", ""
        except Skip as reason:
            return "skipped", str(reason)
        except AssertionError as failure:
            where = traceback.extract_tb(failure.__traceback__)[1:2]
            line = f"{where[0].line}\n" if where else ""
            return "failed", line + str(failure)
        except Exception:
            return "failed", traceback.format_exc()


def user(function):
    """A test of the ordinary user's podman alone."""
    TESTS.append(Test(function, ["user"]))
    return function


def root(function):
    """A test of root's podman alone."""
    TESTS.append(Test(function, ["root"]))
    return function


def both(function):
    TESTS.append(Test(function, ["user", "root"]))
    return function
