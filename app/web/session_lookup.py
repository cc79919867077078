"""Find the session of a request; used by pages and handshakes."""

from __future__ import annotations

import logging
import weakref
from typing import Any, Generic

from app.database import DatabaseUnavailable
from app.sessions.codec import D
from app.sessions.session import Session, SessionEnded
from app.stores import StoreError
from app.transport.tornado_private import request_summary, response_begun, response_headers
from app.web.errors import TooManyRequests
from app.web.origin_check import OriginCheck
from app.web.session_cookie import CookieId

log = logging.getLogger("latchkey.pages")

_TOO_LATE = "a new session needs its cookie on the response; edit it before the first flush()"


class SessionLookup(OriginCheck, Generic[D]):
    """A handler that finds the session of its request and sends the session cookie.

    With Tornado's own WebSocketHandler it also applies the rule for origins.
    """

    def visitor(self) -> Session[D]:
        """Return a session that is created by its first edit."""
        # the handler refers to its session: with a weak reference back, both are freed at once
        handler = weakref.ref(self)

        async def may_create() -> None:
            this = handler()
            if this is None:
                raise RuntimeError(_TOO_LATE)
            await this._may_create()

        return self.services.sessions.visitor(
            remote_address=self.remote_address,
            user_agent=self.user_agent,
            may_create=may_create,
        )

    async def _may_create(self) -> None:
        """Raise if a session cannot be created for this request."""
        if response_begun(self):
            raise RuntimeError(_TOO_LATE)
        wait = await self.services.limits.new_session(self.remote_address)
        if wait:
            self.services.counters.limits["handshakes_per_minute"] += 1
            raise TooManyRequests(wait, "too many new sessions from this address")

    def shown_session_ids(self) -> list[str]:
        """Return the ids in this request's valid cookies, of ended sessions too."""
        return [cookie.session_id for cookie in self._cookie_ids()]

    def _cookie_ids(self) -> list[CookieId]:
        headers = self.request.headers.get_list("Cookie")
        return self.web.session_cookie.read(headers, secure=self.secure) if headers else []

    async def find_session(self) -> Session[D] | None:
        """Return the session of this request's cookie.

        Returns None if the cookie is missing, forged, expired or unknown. A cookie that an older
        key signed is replaced by one that the newest key signs.
        """
        for cookie in self._cookie_ids():
            session = await self.services.sessions.load(cookie.session_id)
            if session is not None and await self.services.impersonation.may_go_on(session):
                if cookie.stale:
                    self.send_cookie(session)
                return session
        return None

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log an ended session or a store that is down in one line, and other errors as usual."""
        if isinstance(value, SessionEnded):
            log.info("%s: its session had ended", request_summary(self))
        elif isinstance(value, StoreError | DatabaseUnavailable):
            self.services.outage_log.add(self.request.remote_ip, value)
        else:
            super().log_exception(typ, value, tb)

    def send_cookie(self, session: Session[D]) -> None:
        """Set this session's cookie on the response, in place of an earlier one."""
        if session.record is None:
            raise RuntimeError("a session must be stored before its cookie leaves")
        left = self.services.sessions.lifetimes.time_left(session.record)
        self._put_cookie(self.web.session_cookie.set(session.id, secure=self.secure, max_age=left))

    def forget_cookie(self) -> None:
        """Make the browser forget the session's cookie."""
        self._put_cookie(self.web.session_cookie.delete(secure=self.secure))

    def _put_cookie(self, value: str) -> None:
        if response_begun(self):
            raise RuntimeError("the session cookie must be set before the response has begun")
        headers = response_headers(self)
        others = headers.get_list("Set-Cookie")
        headers["Set-Cookie"] = value
        if others:
            name = self.web.session_cookie.name(secure=self.secure)
            for other in others:
                if not other.startswith(name + "="):
                    headers.add("Set-Cookie", other)
