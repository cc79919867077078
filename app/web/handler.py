"""What a fork's pages subclass."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from types import FunctionType
from typing import Any, ClassVar, Generic, cast
from urllib.parse import urlencode

from tornado.web import HTTPError, authenticated

from app.common.surrogates import repair_text
from app.limits import in_words
from app.sessions.codec import D
from app.sessions.room import session_room
from app.sessions.session import Session, SessionEnded
from app.stores import Record, StoreError
from app.transport.tornado_private import reason_phrase, response_begun
from app.web.security_headers import SecurityHeaders
from app.web.session_lookup import SessionLookup, TooMany

#: The code that `@tornado.web.authenticated` runs in the place of a method.
_GUARD = cast(FunctionType, authenticated(lambda handler: None)).__code__


def _raised_by_authenticated(error: BaseException | None) -> bool:
    """Return whether `@tornado.web.authenticated` raised this, and not the code that it guards.

    It raises a bare 403 for a POST, as a handler may do for reasons of its own.
    """
    traceback = error.__traceback__ if isinstance(error, HTTPError) else None
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_code is _GUARD


class BaseHandler(SecurityHeaders, SessionLookup[D], Generic[D]):
    """A page or endpoint with a session.

    `self.session` is loaded before the method runs; `async with self.session as data` edits it.
    A visitor without a session gets one, and its cookie, with the first edit.
    """

    session: Session[D]
    page: ClassVar[str] = "/"  # where who has to sign in for a form of this handler goes on

    async def prepare(self) -> None:
        self._sent_id = ""
        found = await self.find_session()
        if found is None:
            self.session = self.visitor()
        else:
            self.session = found
            self._sent_id = found.id
            self.services.sessions.touch(found)

    def get_current_user(self) -> str | None:
        """Name of the user who signed in, for `@tornado.web.authenticated`."""
        # a request that is refused before its session was looked up still gets its error page
        session: Session[D] | None = getattr(self, "session", None)
        return None if session is None else session.user

    def get_login_url(self) -> str:
        """Return where `@tornado.web.authenticated` sends a visitor; a script gets a 401."""
        if self.wants_json:
            raise HTTPError(401, "sign in first")
        return super().get_login_url()

    async def sign_in(
        self, user: str, *, confirm: Callable[[], Awaitable[bool]] | None = None
    ) -> bool:
        """Give this browser a new session id for `user`, and return whether it has one.

        `confirm` is asked once the new session is stored, and before anyone hears of it. Where
        it says no, or raises, this browser is a visitor's.

        Sockets of the old id are closed once the response, and the new cookie, is on its way.
        """
        await self._renew(user)
        confirmed = await self._confirmed(confirm)
        if confirmed:
            await self._end_oldest(user)
            await self.services.on_login.tell(self.session)
        return confirmed

    async def _end_oldest(self, user: str) -> None:
        """End the least recently seen sessions of this user if there are too many by now."""
        most = self.services.settings.max_sessions_per_user
        if not most:
            return
        try:
            await self.services.sessions.end_oldest(user, most, keep=self.session.id)
        except StoreError as error:  # the sign-in holds, and the next one ends them
            self.services.outage_log.add(self.remote_address, error)

    async def regenerate(self, *, confirm: Callable[[], Awaitable[bool]] | None = None) -> bool:
        """Give this browser a new session id for the same user, and return whether it has one.

        `confirm` is asked as by `sign_in`. Its sockets are closed once the new cookie is on its
        way, and come back with it.
        """
        if self.session.user is None:
            raise RuntimeError("only the session of a user is regenerated; a visitor signs in")
        await self._renew(self.session.user)
        return await self._confirmed(confirm)

    async def _confirmed(self, confirm: Callable[[], Awaitable[bool]] | None) -> bool:
        """Keep the session that was just stored, or end it again."""
        confirmed = False
        try:
            confirmed = confirm is None or await confirm()
        finally:
            if not confirmed:
                session_id = self.session.id
                self._become_visitor()
                await self.services.sessions.end(session_id, "revoked")
        return confirmed

    async def _renew(self, user: str) -> None:
        old = self.session.record
        if old is None:
            self._may_create()
        try:
            self.session = await self._signed_in(user)
        except SessionEnded:
            # it ended meanwhile; whoever proved who he is starts afresh
            self.session = self.visitor()
            self.session = await self._signed_in(user)
        if old is not None:
            self._replaced = old

    async def _signed_in(self, user: str) -> Session[D]:
        return await self.services.sessions.sign_in(
            self.session, user, remote_address=self.remote_address, user_agent=self.user_agent
        )

    async def sign_out(self) -> None:
        """End this session; its connections at this process are closed when this returns."""
        if self.session:
            await self.services.sessions.end(self.session.id, "logout")
        self._become_visitor()

    def _become_visitor(self) -> None:
        self.forget_cookie()
        self.session = self.visitor()
        self._sent_id = ""

    async def emit_to_session(self, event: str, data: Any = None, *, namespace: str = "/") -> None:
        """Send an event to all sockets of this session."""
        if self.session:
            await self.services.socket_server.emit(
                event, data, room=session_room(self.session.id), namespace=namespace
            )

    # -- requests and answers --

    @property
    def wants_json(self) -> bool:
        """Whether the client sent JSON or prefers to get it."""
        return self._sent_json or "application/json" in self.request.headers.get("Accept", "")

    @property
    def _sent_json(self) -> bool:
        kind = self.request.headers.get("Content-Type", "").partition(";")[0]
        return kind.strip(" \t").lower() == "application/json"

    def answer_done(self, target: str) -> None:
        """Answer a change that was made: a form goes on to `target`, a script gets 204."""
        if "text/html" in self.request.headers.get("Accept", "") and not self.wants_json:
            self.redirect(target, status=303)
        else:
            self.set_status(204)

    def fields(self, *names: str) -> list[str]:
        """Return these fields of a form or a JSON object; a missing one is an empty string.

        Raises HTTPError 400 if the body is not valid JSON in UTF-8, and 422 if a field of it is
        not a string.
        """
        if not self._sent_json:
            return [self._form_field(name) for name in names]
        try:
            body = json.loads(self.request.body)
        except (ValueError, RecursionError):
            raise HTTPError(400, "the body is not JSON") from None
        values = [body.get(name, "") for name in names] if isinstance(body, dict) else []
        texts = [repair_text(value) for value in values if isinstance(value, str)]
        if len(texts) != len(names):
            raise HTTPError(422, f"expected a JSON object with string fields: {', '.join(names)}")
        return texts

    def _form_field(self, name: str) -> str:
        # not by get_body_argument, which turns control characters into spaces
        values = self.request.body_arguments.get(name, [b""])
        try:
            return values[-1].decode()
        except UnicodeDecodeError:
            raise HTTPError(400, f"the field {name} is not UTF-8") from None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer an error as a page or as `{"error": sentence}`."""
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, SessionEnded):
            if not response_begun(self):
                self._become_visitor()
            self._send_to_login("your session has ended; sign in again")
            return
        if _raised_by_authenticated(error):
            self._send_to_login("sign in first")
            return
        sentence = reason_phrase(self)
        if isinstance(error, StoreError):
            status_code, sentence = 503, "The session store does not answer; please try again."
            self.set_header("Retry-After", "1")
        elif isinstance(error, TooMany):
            self.set_header("Retry-After", str(error.wait))
            sentence = f"{error.log_message}; wait {in_words(error.wait)} and try again"
        elif isinstance(error, HTTPError) and error.log_message and status_code < 500:
            sentence = error.log_message % error.args if error.args else error.log_message
        self.set_status(status_code)
        self.set_header("Cache-Control", "no-store")
        if self.wants_json:
            self.finish({"error": sentence})
        else:
            self.render("error.html", status=status_code, sentence=sentence)

    def _send_to_login(self, sentence: str) -> None:
        if self.wants_json:
            self.set_status(401)
            self.finish({"error": sentence})
        else:
            back = self.request.uri if self.request.method in ("GET", "HEAD") else self.page
            self.redirect("/login?" + urlencode({"next": back}), status=303)

    def flush(self, include_footers: bool = False) -> Any:
        """Send what was written; before the first bytes, the cookie if the id is a new one."""
        session: Session[D] | None = getattr(self, "session", None)
        if session is not None and not response_begun(self):
            # the page that reports such a change must get through
            if self.get_status() < 500:
                session.check_unchanged()
            if session.id not in ("", self._sent_id):
                self._sent_id = session.id
                self.send_cookie(session)
        return super().flush(include_footers)

    def on_finish(self) -> None:
        """Close the sockets of an id that this response has replaced."""
        old: Record | None = getattr(self, "_replaced", None)
        if old is not None:
            self.services.background(
                self.services.sessions.announce_end(old.id, "regenerated", old)
            )

    def get_template_namespace(self) -> dict[str, Any]:
        return {
            **super().get_template_namespace(),
            "session": getattr(self, "session", None),
            "settings": self.services.settings,
            "socket_io_script": self.web.socket_io_script,
        }
