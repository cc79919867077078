"""A monotonic clock for rate limits that tests move."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from app.common import rates


def moved_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Replace the clock of `app.common.rates`; return a function that moves it by seconds."""
    now = [1_700_000_047.3]  # 7 s into a minute
    monkeypatch.setattr(rates, "time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))

    def move(seconds: float) -> None:
        now[0] += seconds

    return move
