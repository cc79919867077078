"""The account page as HTML, for each handler that answers with it."""

from collections import Counter
from datetime import UTC, datetime

import msgspec

from app.devices import Device, DeviceList
from app.sessions.session import SessionEnded
from app.web.errors import TooManyRequests
from handlers.session import BaseHandler

_BLANK = Device(id="", browser="", system="", address="", signed_in=0, seen=0, connections=[])

# static/account.js has the same words


def _name(device: Device) -> str:
    return " on ".join(filter(None, [device.browser or "Unknown browser", device.system]))


def _connection_status(device: Device) -> str:
    counts = Counter(device.connections)
    words = [f"{name} ({count})" if count > 1 else name for name, count in counts.items()]
    return f"Connected by {' and '.join(words)}" if words else "Not connected"


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _when(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


class AccountPage(BaseHandler):
    """Base class of the page and of the forms on it."""

    page = "/account"

    @property
    def user(self) -> str:
        """Name of the user, in methods that require a sign-in."""
        if self.session.user is None:
            raise SessionEnded(self.session.id)
        return self.session.user

    @property
    def user_id(self) -> str:
        """Id of the user's account, in methods that require a sign-in."""
        if self.session.user_id is None:
            raise SessionEnded(self.session.id)
        return self.session.user_id

    async def prepare(self) -> None:
        await super().prepare()
        user_id = self.session.user_id
        if user_id is not None and (wait := await self.services.limits.account_page(user_id)):
            raise TooManyRequests(wait, "too many requests for your account page")

    async def show(self, *, notice: str = "", form: str = "", wrong: str = "") -> None:
        """Write the page, or its content as JSON; `wrong` is the error of the form named `form`."""
        self.set_header("Cache-Control", "no-store")
        devices = await self.services.devices.rows(self.user_id, [self.session.id])
        if self.wants_json:
            self._write_json(devices)
            return
        self.render(
            "account.html",
            devices=devices.seen_by(self.session.id),
            more=devices.more,
            now=int(self.services.sessions.clock()),
            blank=_BLANK,
            name=_name,
            link=_connection_status,
            iso=_iso,
            when=_when,
            notice=notice,
            form=form,
            wrong=wrong,
        )

    def _write_json(self, devices: DeviceList) -> None:
        """Write the user and the devices; `more` is the number of those without a row."""
        rows = msgspec.to_builtins(devices.seen_by(self.session.id))
        self.write(
            {"user": self.user, "user_id": self.user_id, "devices": rows, "more": devices.more}
        )

    def done(self, what: str) -> None:
        """Answer that a change was made: a form with the page, a script with 204."""
        self.answer_done(self.url(self.page, done=what))
