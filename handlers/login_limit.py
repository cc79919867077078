"""The limit of tries to prove an account, by its password or by a recovery code."""

from app.web.errors import TooManyRequests
from handlers.session import BaseHandler


async def check_login_limit(handler: BaseHandler, account: str, device: str = "") -> None:
    """Raise TooManyRequests while this address, account or device may not try.

    `account` is the key that all spellings of a name share, `device` a known one or empty.
    """
    services, address = handler.services, handler.remote_address
    if wait := await services.limits.login_wait(address, account, device):
        services.counters.limits["failed_logins_per_minute"] += 1
        # without the name: a user may have typed a password into the wrong field
        services.audit.refused("failure", address=address, reason="too many tries")
        raise TooManyRequests(wait, "too many tries")
