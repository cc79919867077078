"""The devices of a user: the first section of the account page."""

from typing import Any

import msgspec
from tornado.web import HTTPError, authenticated

from app.stores import public_id
from handlers.account import device_words
from handlers.account.clear_site_data import clear_site_data
from handlers.account.section import AccountSection
from handlers.account.sections import DEVICES


class DevicesSection(AccountSection):
    """Base class of the section and of its forms."""

    section = DEVICES
    template = "account.html"

    async def content(self) -> dict[str, Any]:
        devices = await self.services.devices.rows(self.user_id, [self.session.id])
        return {
            "devices": devices.seen_by(self.session.id),
            "more": devices.more,
            "blank": device_words.BLANK,
            "name": device_words.name,
            "acting": device_words.ACTING,
            "link": device_words.connection_status,
        }

    def as_json(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return the devices; `more` is the number of those without a row."""
        return {"devices": msgspec.to_builtins(content["devices"]), "more": content["more"]}


class DevicesHandler(DevicesSection):
    """The section."""

    @authenticated
    async def get(self) -> None:
        await self.show()


class RevokeHandler(DevicesSection):
    """Signs out one device of this user."""

    @authenticated
    async def post(self, id: str) -> None:
        if id == public_id(self.session.id):
            await self.sign_out()
            self.answer_done(self.url("/login", next=self.url("/account")))
        elif await self.services.devices.revoke(self.user_id, id):
            self.audit("session end", reason="one device")
            self.done("device")
        else:
            raise HTTPError(404, "unknown session")


class RevokeOthersHandler(DevicesSection):
    """Signs out all devices of this user but this one."""

    @authenticated
    async def post(self) -> None:
        await self.services.sessions.end_user(self.user_id, keep=self.session.id)
        self.audit("session end", reason="other devices")
        self.done("others")


class RevokeAllHandler(DevicesSection):
    """Signs out all devices of this user, and makes this browser forget the site."""

    @authenticated
    async def post(self) -> None:
        await self.services.sessions.end_user(self.user_id, keep=self.session.id)
        self.audit("session end", reason="all devices")
        await self.sign_out()
        clear_site_data(self)
        self.answer_done(self.url("/login"))


routes = [
    (r"/account", DevicesHandler),
    (r"/account/sessions/revoke-others", RevokeOthersHandler),
    (r"/account/sessions/revoke-all", RevokeAllHandler),
    (r"/account/sessions/([^/]+)/revoke", RevokeHandler),
]
