"""A code as the second factor: of the authenticator app, or a recovery code in its place."""

from collections.abc import Awaitable, Callable

from app.rate_limits import subscriber
from handlers.session import BaseHandler


def kind_of_code(code: str) -> str:
    """Return "recovery code" for a code from paper, else "totp": those of an app are digits."""
    return "recovery code" if any(letter.isalpha() for letter in code) else "totp"


async def use_code(
    handler: BaseHandler,
    account_id: str,
    code: str,
    check_limits: Callable[[], Awaitable[None]],
) -> bool:
    """Use a code of this account up; return False for a wrong one, which the caller counts."""
    if kind_of_code(code) == "totp":
        return await handler.services.totp.check(account_id, code, check_limits=check_limits)
    share = subscriber(handler.remote_address)
    return await handler.services.recovery_codes.use(
        account_id, code, check_limits=check_limits, address=share
    )
