"""The corpus of the fuzzers, and what hypothesis makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reliability.fuzz.targets import TARGETS, inputs

EXAMPLES = 300


@pytest.mark.parametrize(
    ("name", "path"),
    [
        pytest.param(name, path, id=f"{name}-{path.name}")
        for name in TARGETS
        for path in inputs(name)
    ],
)
def test_the_corpus_causes_no_fault(name: str, path: Path) -> None:
    """Each input, and each of its beginnings."""
    data = path.read_bytes()
    for end in range(len(data) + 1):
        TARGETS[name](data[:end])


@pytest.mark.parametrize("name", list(TARGETS))
def test_changed_inputs_cause_no_fault(name: str) -> None:
    """Any bytes in the place of some of an input's."""
    samples = [path.read_bytes() for path in inputs(name)]

    @settings(max_examples=EXAMPLES, derandomize=True, database=None, deadline=None)
    @given(st.sampled_from(samples), st.integers(0, 300), st.integers(0, 8), st.binary(max_size=8))
    def change(data: bytes, at: int, size: int, put: bytes) -> None:
        at = min(at, len(data))
        TARGETS[name](data[:at] + put + data[at + size :])

    change()
