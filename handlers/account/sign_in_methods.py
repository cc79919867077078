"""How the user signs in: a section of the account page."""

from typing import Any

import msgspec
from tornado.web import authenticated

from app.devices.user_agents import describe, device_name
from handlers.account.section import AccountSection
from handlers.account.sections import SIGN_IN
from handlers.account.sign_in_overview import ways

_EVENTS = 500  # audit events in which to look for the last use of each way


class SignInMethodsSection(AccountSection):
    """Base class of the section and of its forms."""

    section = SIGN_IN
    template = "account_sign_in.html"

    async def content(self) -> dict[str, Any]:
        totp = await self.services.totp.state(self.user_id)
        devices = await self.services.trusted_devices.list(self.user_id)
        names = await describe({device.user_agent for device in devices})
        account = await self.services.accounts.by_id(self.user_id)
        codes_left = await self.services.recovery_codes.left(self.user_id)
        events = await self.services.audit_trail.of(self.user_id, _EVENTS)
        totp_since = None if totp is None else totp.confirmed
        return {
            "ways": ways(account, totp_since, codes_left, events),
            "totp_since": totp_since,
            "device_name": device_name,
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
        return {
            "ways": msgspec.to_builtins(content["ways"]),
            "totp_since": None if since is None else int(since),
            "trusted_devices": content["trusted_devices"],
        }

    async def changed(self, event: str) -> None:
        """Log a change of a sign-in method, and tell the user's other pages."""
        self.audit(event)
        await self.services.accounts.on_changed.tell(self.user_id)


class SignInMethodsHandler(SignInMethodsSection):
    """The section."""

    @authenticated
    async def get(self) -> None:
        await self.show()


routes = [(r"/account/sign-in", SignInMethodsHandler)]
