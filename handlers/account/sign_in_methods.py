"""How the user signs in: a section of the account page."""

from typing import Any

from tornado.web import authenticated

from app.devices.user_agents import describe
from handlers.account.section import AccountSection
from handlers.account.sections import SIGN_IN


class SignInMethodsSection(AccountSection):
    """Base class of the section and of its forms."""

    section = SIGN_IN
    template = "account_sign_in.html"

    async def content(self) -> dict[str, Any]:
        totp = await self.services.totp.state(self.user_id)
        devices = await self.services.trusted_devices.list(self.user_id)
        names = await describe({device.user_agent for device in devices})
        return {
            "totp_since": None if totp is None else totp.confirmed,
            "trusted_devices": [
                {
                    "id": device.id,
                    "browser": names[device.user_agent].browser,
                    "system": names[device.user_agent].system,
                    "since": int(device.created),
                    "until": int(device.expires),
                }
                for device in devices
            ],
        }

    def as_json(self, content: dict[str, Any]) -> dict[str, Any]:
        since = content["totp_since"]
        return {**content, "totp_since": None if since is None else int(since)}

    async def changed(self, event: str) -> None:
        """Log a change of a sign-in method, and tell the user's other pages."""
        self.services.audit.add(
            event, user=self.user, address=self.remote_address, user_id=self.user_id
        )
        await self.services.accounts.on_changed.tell(self.user_id)


class SignInMethodsHandler(SignInMethodsSection):
    """The section."""

    @authenticated
    async def get(self) -> None:
        await self.show()


routes = [(r"/account/sign-in", SignInMethodsHandler)]
