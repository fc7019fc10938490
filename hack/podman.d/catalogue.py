"""All tests, in the order in which they run."""

import case
import life  # noqa: F401  (each import adds its tests)
import statuses  # noqa: F401
import terminals  # noqa: F401
import files  # noqa: F401
import process  # noqa: F401
import identities  # noqa: F401
import sharing  # noqa: F401
import scenarios  # noqa: F401
import extras  # noqa: F401
import live_mounts  # noqa: F401
import others  # noqa: F401
import containerd  # noqa: F401
import leftovers  # noqa: F401

TESTS = case.TESTS
