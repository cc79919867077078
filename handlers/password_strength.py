"""How strong a new password is, for the meter beside its field."""

import msgspec

from app.rate_limits import subscriber
from handlers.password_limit import check_password_limit
from handlers.session import BaseHandler


class PasswordStrengthHandler(BaseHandler):
    """Judges a password that nobody has yet; it is neither stored nor logged."""

    is_activity = False  # the form that is sent in the end is

    async def post(self) -> None:
        password, username = self.fields("password", "username")
        await check_password_limit(self)
        strength = await self.services.accounts.password_strength(
            password,
            username,
            self.session.user or "",
            address=subscriber(self.remote_address),
        )
        self.set_header("Cache-Control", "no-store")
        self.write(msgspec.to_builtins(strength))


routes = [(r"/password-strength", PasswordStrengthHandler)]
