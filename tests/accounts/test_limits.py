"""Limits of attempts by address and account."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.rate_limits import Limits
from app.settings import Settings
from tests.support.rates import moved_clock

ADDRESS = "192.0.2.1"


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that moves the clocks, which begin 7 s into a minute."""
    return moved_clock(monkeypatch)


def limits(**settings: int) -> Limits:
    """Return limits with these settings."""
    return Limits(Settings(**settings))  # type: ignore[arg-type]


@pytest.mark.attack("A42")
async def test_handshakes_up_to_the_limit_are_taken(wait: Callable[[float], None]) -> None:
    """The next one is told for how many seconds to wait."""
    limit = limits(handshakes_per_minute=5)
    assert [await limit.handshake(ADDRESS) for _ in range(5)] == [0] * 5
    assert 1 <= await limit.handshake(ADDRESS) <= 60


async def test_a_low_rate_is_exact_at_the_minutes_border(wait: Callable[[float], None]) -> None:
    """Failed logins are few, and not one more of them is let through when a minute begins."""
    limit = limits(failed_logins_per_minute=3)
    wait(12.6)  # to the last tenth of a minute
    for _ in range(3):
        await limit.login_failed(ADDRESS, "anna")
    for _ in range(59):
        wait(1)
        assert await limit.login_wait(ADDRESS, "anna") > 0
    wait(1.1)
    assert await limit.login_wait(ADDRESS, "anna") == 0


async def test_zero_is_no_limit(wait: Callable[[float], None]) -> None:
    """For handshakes and for logins."""
    limit = limits(handshakes_per_minute=0, failed_logins_per_minute=0)
    for _ in range(2000):
        await limit.login_failed(ADDRESS, "anna")
        assert await limit.handshake(ADDRESS) == 0
    assert await limit.login_wait(ADDRESS, "anna") == 0


async def test_addresses_are_counted_apart(wait: Callable[[float], None]) -> None:
    """One that is over its limit does not keep another one out."""
    limit = limits(handshakes_per_minute=1)
    assert await limit.handshake(ADDRESS) == 0
    assert await limit.handshake(ADDRESS) > 0
    assert await limit.handshake("192.0.2.2") == 0


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
async def test_who_counts_as_one_subscriber(
    wait: Callable[[float], None], first: str, second: str, same: bool
) -> None:
    """Of IPv6 a /64, which one subscriber has to himself; of IPv4 one address in any form."""
    limit = limits(handshakes_per_minute=1)
    assert await limit.handshake(first) == 0
    assert (await limit.handshake(second) > 0) == same


async def test_failed_logins_are_counted_for_the_address(wait: Callable[[float], None]) -> None:
    """Who tries many accounts from one address has to wait for each of them."""
    limit = limits(failed_logins_per_minute=3)
    for account in ("anna", "bert", "carl"):
        assert await limit.login_wait(ADDRESS, account) == 0
        await limit.login_failed(ADDRESS, account)
    assert await limit.login_wait(ADDRESS, "dora") > 0
    assert await limit.login_wait("192.0.2.2", "dora") == 0


async def test_failed_logins_are_counted_for_the_account(wait: Callable[[float], None]) -> None:
    """Who tries one account from many addresses has to wait too."""
    limit = limits(failed_logins_per_minute=3)
    for number in range(3):
        await limit.login_failed(f"192.0.2.{number}", "anna")
    assert await limit.login_wait("198.51.100.1", "anna") > 0
    assert await limit.login_wait("198.51.100.1", "bert") == 0


async def test_asking_counts_nothing(wait: Callable[[float], None]) -> None:
    """Only failures use up the tries."""
    limit = limits(failed_logins_per_minute=1)
    for _ in range(100):
        assert await limit.login_wait(ADDRESS, "anna") == 0


async def test_an_account_is_not_taken_for_an_address(wait: Callable[[float], None]) -> None:
    """Nobody locks an address out by choosing its number as a name."""
    limit = limits(failed_logins_per_minute=1)
    await limit.login_failed("198.51.100.1", ADDRESS)
    assert await limit.login_wait(ADDRESS, "anna") == 0


async def test_two_applications_count_apart(wait: Callable[[float], None]) -> None:
    """No state hides in a module."""
    first, second = limits(handshakes_per_minute=1), limits(handshakes_per_minute=1)
    assert await first.handshake(ADDRESS) == 0
    assert await second.handshake(ADDRESS) == 0


async def test_a_known_device_has_tries_of_its_own(wait: Callable[[float], None]) -> None:
    """Neither the account's nor the address's failures keep it out, and it uses up neither's."""
    limit = limits(failed_logins_per_minute=2)
    for _ in range(2):
        await limit.login_failed(ADDRESS, "anna")
    assert await limit.login_wait(ADDRESS, "anna") > 0
    assert await limit.login_wait(ADDRESS, "anna", "phone") == 0
    for _ in range(2):
        await limit.login_failed("192.0.2.2", "bert", "phone")
    assert await limit.login_wait("192.0.2.2", "bert", "phone") > 0
    assert await limit.login_wait("192.0.2.2", "bert", "laptop") == 0
    assert await limit.login_wait("192.0.2.2", "bert") == 0


async def test_who_is_signed_in_is_counted_apart(wait: Callable[[float], None]) -> None:
    """Wrong passwords on the account page and on the login page do not add up."""
    limit = limits(failed_logins_per_minute=1)
    await limit.login_failed(ADDRESS, "anna")
    assert await limit.password_wait("anna") == 0
    await limit.password_failed("anna")
    assert await limit.password_wait("anna") > 0
    assert await limit.password_wait("bert") == 0


@pytest.mark.attack("A10")
async def test_sessions_that_pages_make_are_limited(wait: Callable[[float], None]) -> None:
    """At the rate of handshakes, and counted apart from them."""
    limit = limits(handshakes_per_minute=2)
    assert [await limit.new_session(ADDRESS) for _ in range(2)] == [0, 0]
    assert 1 <= await limit.new_session(ADDRESS) <= 60
    assert await limit.new_session("192.0.2.2") == 0
    assert await limit.handshake(ADDRESS) == 0
