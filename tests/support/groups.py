"""Which tests the workers of pytest-xdist run together, and in which order.

A group of tests runs in one worker, so that what they share starts once. The mark `xdist_group`
would say the same beside the tests, but pytest-xdist 3.8 has no effect on the ids of pytest 9.2, so
that each worker would start it all.
"""

from __future__ import annotations

import importlib
from collections import Counter
from types import MappingProxyType
from typing import Any

import pytest

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
            return GROUPS.get(_file(nodeid), nodeid)

    return Groups(config, log)


def spread(items: list[pytest.Item]) -> None:
    """Begin with the groups, and spread the files of each folder over the whole run.

    The tests of a folder often wait for the same things. One folder after the other, they left
    the processors idle for minutes, and wanted more than there are in others.
    """
    sizes = Counter(_folder(item.nodeid) for item in items)
    before: Counter[str] = Counter()  # tests of a folder that come before
    places: dict[str, float] = {}
    for item in items:
        file, folder = _file(item.nodeid), _folder(item.nodeid)
        places.setdefault(file, 0.0 if file in GROUPS else (before[folder] + 1) / sizes[folder])
        before[folder] += 1
    items.sort(key=lambda item: places[_file(item.nodeid)])


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _folder(nodeid: str) -> str:
    return _file(nodeid).rpartition("/")[0]
