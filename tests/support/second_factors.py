"""Authenticator apps: they show the codes of a secret."""

from __future__ import annotations

from pyotp.totp import TOTP

from tests.support.clock import Clock
from tests.support.site import Site

STEP = 30  # seconds that a code lasts


def code(secret: str, clock: Clock, steps: int = 0) -> str:
    """Return the code that an authenticator app shows now, or so many steps later."""
    return TOTP(secret).at(int(clock.now) + steps * STEP)


def wrong(secret: str, clock: Clock) -> str:
    """Return six digits that are no code now."""
    right = {code(secret, clock, steps) for steps in range(-3, 4)}
    return next(text for text in map("{:06}".format, range(8)) if text not in right)


async def enrol(site: Site, name: str) -> str:
    """Turn the second factor of this account on; return its secret, whose next code is unused."""
    account = await site.services.accounts.by_name(name)
    secret: str = (await site.services.totp.begin(account.id)).secret
    assert await site.services.totp.confirm(account.id, code(secret, site.services.sessions.clock))
    site.services.sessions.clock.now += 2 * STEP
    return secret
