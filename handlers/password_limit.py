"""The limit of new passwords that one address has judged, by the meter or by a form."""

from app.web.errors import TooManyRequests
from handlers.session import BaseHandler


async def check_password_limit(handler: BaseHandler) -> None:
    """Count a new password before it is judged; raises TooManyRequests."""
    if wait := await handler.services.limits.password_strength(handler.remote_address):
        raise TooManyRequests(wait, "too many new passwords")
