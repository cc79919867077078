"""Groups of tests that one worker of pytest-xdist runs, so that what they share starts once.

The mark `xdist_group` would say the same beside the tests, but pytest-xdist 3.8 has no effect on
the ids of pytest 9.2, so that each worker would start it all.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import Any

GROUPS = MappingProxyType(
    {
        "tests/browser/test_browser_account.py": "browser 1",
        "tests/browser/test_browser_cross_origin.py": "browser 2",
        "tests/handlers/test_below_a_path.py": "browser 2",
        "tests/handlers/test_counter_page.py": "browser 2",
        "tests/project/test_bench.py": "servers of the bench",
        "tests/project/test_groups.py": "groups",
        "tests/project/test_packaging.py": "wheel",
        "tests/transport/test_differential.py": "server of Node",
    }
)


def scheduler(config: Any, log: Any) -> Any:
    """Return a scheduler that gives each group to one worker, and all other tests to any."""
    base: Any = importlib.import_module("xdist.scheduler").LoadGroupScheduling

    class Groups(base):
        def _split_scope(self, nodeid: str) -> str:
            return GROUPS.get(nodeid.partition("::")[0], nodeid)

    return Groups(config, log)
