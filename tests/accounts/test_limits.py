"""Limits of attempts by address and account."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from app.limits import ExactRate, Limits, Rate
from app.settings import Settings

ADDRESS = "192.0.2.1"


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what moves the clocks, which begin 7 s into a minute."""
    now = [1_700_000_047.3]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


def limits(**settings: int) -> Limits:
    """Return limits with these settings."""
    return Limits(Settings(**settings))  # type: ignore[arg-type]


def test_handshakes_up_to_the_limit_are_taken(wait: Callable[[float], None]) -> None:
    """The next one is told for how many seconds to wait."""
    limit = limits(handshakes_per_minute=5)
    assert [limit.handshake(ADDRESS) for _ in range(5)] == [0] * 5
    assert 1 <= limit.handshake(ADDRESS) <= 60


@pytest.mark.parametrize("later", [0, 5, 30.5, 52.7])
def test_who_waited_may_go_on(wait: Callable[[float], None], later: float) -> None:
    """After the seconds that were named and not one of them before, wherever a minute begins."""
    rate = Rate(5)
    wait(later)
    for _ in range(3):
        for _ in range(5):
            rate.take("a")
        for _ in range(10):
            seconds = rate.wait("a")
            assert 1 <= seconds <= 61
            assert rate.take("a") == seconds
            wait(seconds - 1)
            assert rate.wait("a") > 0
            wait(1)
            assert rate.take("a") == 0


def test_a_client_that_waited_may_try_again(wait: Callable[[float], None]) -> None:
    """The same for what is counted exactly."""
    rate = ExactRate(5)
    for _ in range(5):
        assert rate.wait("a") == 0
        rate.hit("a")
    seconds = rate.wait("a")
    assert seconds > 0
    wait(seconds / 2)
    assert rate.wait("a") > 0
    wait(seconds / 2)
    assert rate.wait("a") == 0


def test_a_clock_that_is_set_forgives_nothing(
    wait: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it lock anybody out, by a minute or by years."""
    for moved in (-60, 60, -1e9, 1e9):
        rate = Rate(5)
        assert sum(rate.take("a") == 0 for _ in range(10)) == 5
        now = time.time()
        monkeypatch.setattr(time, "time", lambda now=now + moved: now)
        assert 0 < rate.wait("a") <= 60


@pytest.mark.parametrize("seconds", [59.99, 120, 3600])
def test_only_the_minute_before_counts(wait: Callable[[float], None], seconds: float) -> None:
    """Not one that is longer ago."""
    rate = Rate(600)
    wait(-7.3)  # to the beginning of a minute
    assert sum(rate.take("a") == 0 for _ in range(700)) == 600
    wait(seconds)
    assert (rate.wait("a") == 0) is (seconds != 59.99)
    if seconds == 59.99:
        wait(30.01)
        assert sum(rate.take("a") == 0 for _ in range(700)) == pytest.approx(300, abs=1)


def test_a_limit_holds_across_the_minutes_border(wait: Callable[[float], None]) -> None:
    """Who has just used up a minute does not get another one because a full minute begins."""
    rate = Rate(100)
    taken = int(rate.take("a") == 0)  # from which another kind of limit would count the minute
    wait(59)
    taken += sum(rate.take("a") == 0 for _ in range(200))
    wait(2)
    taken += sum(rate.take("a") == 0 for _ in range(200))
    assert taken <= 110


def test_a_low_rate_is_exact_at_the_minutes_border(wait: Callable[[float], None]) -> None:
    """Failed logins are few, and not one more of them is let through when a minute begins."""
    limit = limits(failed_logins_per_minute=3)
    wait(12.6)  # to the last tenth of a minute
    for _ in range(3):
        limit.login_failed(ADDRESS, "anna")
    for _ in range(59):
        wait(1)
        assert limit.login_wait(ADDRESS, "anna") > 0
    wait(1.1)
    assert limit.login_wait(ADDRESS, "anna") == 0


def test_zero_is_no_limit(wait: Callable[[float], None]) -> None:
    """For handshakes and for logins."""
    limit = limits(handshakes_per_minute=0, failed_logins_per_minute=0)
    for _ in range(2000):
        limit.login_failed(ADDRESS, "anna")
        assert limit.handshake(ADDRESS) == 0
    assert limit.login_wait(ADDRESS, "anna") == 0


def test_addresses_are_counted_apart(wait: Callable[[float], None]) -> None:
    """One that is over its limit does not keep another one out."""
    limit = limits(handshakes_per_minute=1)
    assert limit.handshake(ADDRESS) == 0
    assert limit.handshake(ADDRESS) > 0
    assert limit.handshake("192.0.2.2") == 0


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("2001:db8:0:1::1", "2001:DB8:0:1:0::9", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("not an address", "another", False),
        ("", "192.0.2.1", False),
    ],
)
def test_who_counts_as_one_subscriber(
    wait: Callable[[float], None], first: str, second: str, same: bool
) -> None:
    """Of IPv6 a /64, which one subscriber has to himself; of IPv4 one address in any form."""
    limit = limits(handshakes_per_minute=1)
    assert limit.handshake(first) == 0
    assert (limit.handshake(second) > 0) == same


def test_failed_logins_are_counted_for_the_address(wait: Callable[[float], None]) -> None:
    """Who tries many accounts from one address has to wait for each of them."""
    limit = limits(failed_logins_per_minute=3)
    for account in ("anna", "bert", "carl"):
        assert limit.login_wait(ADDRESS, account) == 0
        limit.login_failed(ADDRESS, account)
    assert limit.login_wait(ADDRESS, "dora") > 0
    assert limit.login_wait("192.0.2.2", "dora") == 0


def test_failed_logins_are_counted_for_the_account(wait: Callable[[float], None]) -> None:
    """Who tries one account from many addresses has to wait too."""
    limit = limits(failed_logins_per_minute=3)
    for number in range(3):
        limit.login_failed(f"192.0.2.{number}", "anna")
    assert limit.login_wait("198.51.100.1", "anna") > 0
    assert limit.login_wait("198.51.100.1", "bert") == 0


def test_asking_counts_nothing(wait: Callable[[float], None]) -> None:
    """Only failures use up the tries."""
    limit = limits(failed_logins_per_minute=1)
    for _ in range(100):
        assert limit.login_wait(ADDRESS, "anna") == 0


def test_an_account_is_not_taken_for_an_address(wait: Callable[[float], None]) -> None:
    """Nobody locks an address out by choosing its number as a name."""
    limit = limits(failed_logins_per_minute=1)
    limit.login_failed("198.51.100.1", ADDRESS)
    assert limit.login_wait(ADDRESS, "anna") == 0


def test_two_applications_count_apart(wait: Callable[[float], None]) -> None:
    """No state hides in a module."""
    first, second = limits(handshakes_per_minute=1), limits(handshakes_per_minute=1)
    assert first.handshake(ADDRESS) == 0
    assert second.handshake(ADDRESS) == 0


def test_a_known_device_has_tries_of_its_own(wait: Callable[[float], None]) -> None:
    """Neither the account's nor the address's failures keep it out, and it uses up neither's."""
    limit = limits(failed_logins_per_minute=2)
    for _ in range(2):
        limit.login_failed(ADDRESS, "anna")
    assert limit.login_wait(ADDRESS, "anna") > 0
    assert limit.login_wait(ADDRESS, "anna", "phone") == 0
    for _ in range(2):
        limit.login_failed("192.0.2.2", "bert", "phone")
    assert limit.login_wait("192.0.2.2", "bert", "phone") > 0
    assert limit.login_wait("192.0.2.2", "bert", "laptop") == 0
    assert limit.login_wait("192.0.2.2", "bert") == 0


def test_who_is_signed_in_is_counted_apart(wait: Callable[[float], None]) -> None:
    """Wrong passwords on the account page and on the login page do not add up."""
    limit = limits(failed_logins_per_minute=1)
    limit.login_failed(ADDRESS, "anna")
    assert limit.password_wait("anna") == 0
    limit.password_failed("anna")
    assert limit.password_wait("anna") > 0
    assert limit.password_wait("bert") == 0


def test_sessions_that_pages_make_are_limited(wait: Callable[[float], None]) -> None:
    """At the rate of handshakes, and counted apart from them."""
    limit = limits(handshakes_per_minute=2)
    assert [limit.new_session(ADDRESS) for _ in range(2)] == [0, 0]
    assert 1 <= limit.new_session(ADDRESS) <= 60
    assert limit.new_session("192.0.2.2") == 0
    assert limit.handshake(ADDRESS) == 0


def test_what_is_over_is_forgotten(wait: Callable[[float], None]) -> None:
    """Many addresses that come once leave nothing."""
    rate = Rate(5)
    for number in range(1000):
        assert rate.take(f"address {number}") == 0
    wait(60)
    rate.take("one more")
    assert len(rate._counts) == 1
    assert len(rate._before) == 1000
    wait(60)
    rate.take("one more")
    assert len(rate._counts) == len(rate._before) == 1


def test_failures_that_are_over_are_forgotten(wait: Callable[[float], None]) -> None:
    """Accounts that were tried once leave nothing; one that is still counted stays."""
    rate = ExactRate(2)
    for number in range(1000):
        rate.hit(f"account {number}")
    wait(59)
    rate.hit("account 0")
    wait(2)
    rate.hit("one more")
    assert set(rate._hits) == {"account 0", "one more"}


def test_failures_of_many_accounts_take_bounded_memory(
    wait: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound the one that was tried longest ago is forgotten."""
    monkeypatch.setattr(ExactRate, "MAX_KEYS", 100)
    rate = ExactRate(1)
    for number in range(150):
        rate.hit(f"account {number}")
    rate.hit("account 60")
    assert len(rate._hits) == 100
    assert rate.wait("account 49") == 0
    assert rate.wait("account 50") > 0
    for number in range(150, 200):
        rate.hit(f"account {number}")
    assert rate.wait("account 60") > 0


def test_more_failures_than_the_limit_take_no_more_memory(wait: Callable[[float], None]) -> None:
    rate = ExactRate(3)
    for _ in range(1000):
        rate.hit("anna")
    assert len(rate._hits["anna"]) == 3
