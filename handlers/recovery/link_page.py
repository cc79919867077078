"""The page behind a one-time link."""

from __future__ import annotations

import re
from typing import ClassVar

from app.accounts import Purpose, Use
from app.rate_limits import subscriber
from app.web.errors import TooManyRequests
from handlers.recovery.link_cookie import LinkCookie
from handlers.session import BaseHandler

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,100}")
_INVALID = "This link is not valid any more: it was used, is too old, or was replaced by a new one."


class LinkPage(BaseHandler):
    """Takes the token out of the address, then shows what the link is for.

    Only a POST uses the link up, so programs that open links in mails do not.
    """

    path: ClassVar[str]  # without the base path
    purposes: ClassVar[tuple[Purpose, ...]]
    template: ClassVar[str]

    async def get(self) -> None:
        token = self.get_query_argument("token", "")
        if token:
            token = token if _TOKEN.fullmatch(token) else "invalid"
            self.keep(token)
            self.redirect(self.url(self.path), status=303)
            return
        token = self._cookie.read(self.request.headers.get_list("Cookie"), secure=self.secure)
        await self.show(token, await self.find(token))

    async def show(self, token: str, use: Use | None, *, sentence: str = "") -> None:
        """Write the page with its form, or that the link is invalid."""
        self.set_header("Cache-Control", "no-store")
        if use is None:
            self.set_status(410)
            if self.wants_json:
                self.write({"error": _INVALID})
            else:
                self.render("link_invalid.html", sentence=_INVALID)
        elif self.wants_json:
            self.write({"error": sentence} if sentence else {"user": use.account.name})
        else:
            self.render(self.template, token=token, use=use, sentence=sentence)

    async def find(self, token: str) -> Use | None:
        """Return what a link is good for; raises TooManyRequests for an address that guesses."""
        await self.check_limits()
        use = None
        if token:
            share = subscriber(self.remote_address)
            use = await self.services.one_time_links.peek(token, *self.purposes, address=share)
        if use is None and token:
            await self.failed()
        return use

    async def check_limits(self) -> None:
        """Raise TooManyRequests while this address may not try links."""
        if wait := await self.services.limits.link_wait(self.remote_address):
            self.services.counters.limits["failed_logins_per_minute"] += 1
            raise TooManyRequests(wait, "too many tries")

    async def failed(self) -> None:
        """Count and log an invalid link."""
        await self.services.limits.link_failed(self.remote_address)
        address, reason = self.remote_address, f"invalid link: {self.path}"
        self.services.audit.refused("failure", address=address, reason=reason)

    def keep(self, token: str) -> None:
        """Send the cookie with this token; an empty one forgets it."""
        self.add_header("Set-Cookie", self._cookie.set(token, secure=self.secure))

    @property
    def _cookie(self) -> LinkCookie:
        return LinkCookie(self.services.settings, self.web.session_cookie, self.path)
