"""What every test run shares.

The order of the tests is random; its seed stands in the first lines of a run and `--randomly-seed=N` repeats it.
Hypothesis takes the same examples in every run, so that a failure is due to the change at hand;
`--hypothesis-profile=explore` looks for new ones, many more of them.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

# No deadline: two cores are shared by several test processes, so the time of one example says nothing.
settings.register_profile("repeatable", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=5_000, print_blob=True)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse test names with an address in them: no two processes of a parallel run would collect the same."""
    unstable = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if unstable:
        raise pytest.UsageError("give these cases an id (tests.support.naming.case_name):\n  " + "\n  ".join(unstable))
