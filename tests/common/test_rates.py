"""A sliding window: at most so many hits of a key in any minute."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from app.common.rates import SlidingWindow
from tests.support.rates import moved_clock


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that moves the monotonic clock, which begins 7 s into a minute."""
    return moved_clock(monkeypatch)


@pytest.mark.parametrize("later", [0, 5, 30.5, 52.7])
def test_who_waited_may_go_on(wait: Callable[[float], None], later: float) -> None:
    """After the seconds that were named and not one of them before, wherever a minute begins."""
    rate = SlidingWindow(5)
    wait(later)
    for _ in range(3):
        for _ in range(10):
            while rate.take("a") == 0:
                wait(0.5)
            seconds = rate.wait("a")
            assert 1 <= seconds <= 61
            assert rate.take("a") == seconds
            wait(seconds - 1)
            assert rate.wait("a") > 0
            wait(1)
            assert rate.take("a") == 0
        wait(60)


def test_a_hit_uses_up_the_limit_as_a_take_does(wait: Callable[[float], None]) -> None:
    """And `wait` counts nothing."""
    rate = SlidingWindow(5)
    for _ in range(5):
        assert rate.wait("a") == 0
        rate.hit("a")
    seconds = rate.wait("a")
    assert seconds > 0
    wait(seconds / 2)
    assert rate.wait("a") > 0
    wait(seconds / 2)
    assert rate.wait("a") == 0


def test_the_wall_clock_changes_nothing(
    wait: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set back or forward by a minute or by years, it neither frees nor locks out a key."""
    for moved in (-60, 60, -1e9, 1e9):
        rate = SlidingWindow(5)
        assert sum(rate.take("a") == 0 for _ in range(10)) == 5
        now = time.time()
        monkeypatch.setattr(time, "time", lambda now=now + moved: now)
        assert 0 < rate.wait("a") <= 60


@pytest.mark.parametrize("seconds", [59.99, 60.01, 120, 3600])
def test_only_the_last_minute_counts(wait: Callable[[float], None], seconds: float) -> None:
    """All hits of a minute ago leave the window; none does before."""
    rate = SlidingWindow(600)
    assert sum(rate.take("a") == 0 for _ in range(700)) == 600
    wait(seconds)
    assert (rate.wait("a") == 0) is (seconds > 60)
    assert sum(rate.take("a") == 0 for _ in range(700)) == (600 if seconds > 60 else 0)


def test_a_limit_holds_across_the_minutes_border(wait: Callable[[float], None]) -> None:
    """A client that has used up its minute gets no other when a full minute begins."""
    rate = SlidingWindow(100)
    taken = int(rate.take("a") == 0)
    wait(59)
    taken += sum(rate.take("a") == 0 for _ in range(200))
    wait(2)
    taken += sum(rate.take("a") == 0 for _ in range(200))
    assert taken == 101  # of 61 seconds


def test_keys_out_of_the_window_are_forgotten(wait: Callable[[float], None]) -> None:
    """Many addresses that come once leave nothing."""
    rate = SlidingWindow(5)
    for number in range(1000):
        assert rate.take(f"address {number}") == 0
    wait(60)
    rate.take("one more")
    assert len(rate._hits) == 1


def test_a_key_with_a_hit_in_the_window_stays(wait: Callable[[float], None]) -> None:
    """Also if its other hits are out of the window."""
    rate = SlidingWindow(2)
    for number in range(1000):
        rate.hit(f"account {number}")
    wait(59)
    rate.hit("account 0")
    wait(2)
    rate.hit("one more")
    assert set(rate._hits) == {"account 0", "one more"}


def test_many_keys_take_bounded_memory(
    wait: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound, the key whose last hit is oldest is forgotten."""
    monkeypatch.setattr(SlidingWindow, "MAX_KEYS", 100)
    rate = SlidingWindow(1)
    for number in range(150):
        rate.hit(f"account {number}")
    rate.hit("account 60")
    assert len(rate._hits) == 100
    assert rate.wait("account 49") == 0
    assert rate.wait("account 50") > 0
    for number in range(150, 200):
        rate.hit(f"account {number}")
    assert rate.wait("account 60") > 0


def test_hits_beyond_the_limit_take_no_memory(wait: Callable[[float], None]) -> None:
    rate = SlidingWindow(3)
    for _ in range(1000):
        rate.hit("anna")
    assert len(rate._hits["anna"]) == 3
