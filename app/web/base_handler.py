"""The base class of pages."""

from __future__ import annotations

from typing import Any, ClassVar, Generic

from tornado.web import HTTPError

from app.accounts import RoleRequired, refusal, required_roles
from app.sessions.codec import D
from app.sessions.room_name import session_room
from app.sessions.session import SessionEnded
from app.transport.tornado_private import reason_phrase, response_begun
from app.web.errors import (
    ErrorAnswer,
    SignInFirst,
    error_answer,
    needs_sign_in,
)
from app.web.form import is_json, read_fields
from app.web.json_body import T, read_json
from app.web.session_handler import SessionHandler


class BaseHandler(SessionHandler[D], Generic[D]):
    """A page or endpoint with a session.

    `self.session` is loaded before the method runs; `async with self.session as data` edits it.
    A visitor without a session gets one, and its cookie, with the first edit.
    """

    #: Path to go to after a sign-in that a form of this handler required, without the base path.
    page: ClassVar[str] = "/"

    #: The role that a user needs for all methods, or several of which they need one; for single
    #: methods there is the decorator `app.web.require_role.require_role`.
    role_required: ClassVar[RoleRequired] = ()

    _takes_json = False  # whether the handler has asked for JSON

    def __init_subclass__(cls) -> None:
        """Refuse a class whose `role_required` is no role (ValueError)."""
        super().__init_subclass__()
        required_roles(cls.role_required)

    async def prepare(self) -> None:
        """Load the session; refuse the request of a user without the role that it needs."""
        await super().prepare()
        if self.role_required:
            await self.check_role(required_roles(self.role_required))

    # -- roles --

    async def has_role(self, *roles: str) -> bool:
        """Whether the user who is signed in has this role, or one of several, as of now."""
        user_id = self.session.user_id
        if user_id is None:
            return False
        return not required_roles(roles).isdisjoint(await self.services.roles.of(user_id))

    async def check_role(self, needed: frozenset[str]) -> None:
        """Raise SignInFirst for a visitor, HTTPError 403 for a user who has none of these roles."""
        if self.session.user_id is None:
            raise SignInFirst
        if not await self.has_role(*needed):
            raise HTTPError(403, refusal(needed))

    # -- sockets --

    async def emit_to_session(self, event: str, data: Any = None, *, namespace: str = "/") -> None:
        """Send an event to all sockets of this session."""
        if self.session:
            await self.services.socket_server.emit(
                event, data, room=session_room(self.session.id), namespace=namespace
            )

    # -- requests and answers --

    @property
    def wants_json(self) -> bool:
        """Whether the client sent JSON, was asked for it by `json`, or prefers to get it."""
        return self._takes_json or is_json(self.request) or self._accepts("application/json")

    def json(self, kind: type[T]) -> T:
        """Return the body, which must be JSON, as a value of this annotated type.

        The type may be a msgspec.Struct, a TypedDict, a dataclass, `list[int]` and so on. Raises
        HTTPError 415 if the body is not declared as JSON, 400 if it is not valid JSON, and
        InvalidField (422) if it does not fit: the client gets `{"error": sentence, "field": path}`
        of the first field that is wrong.
        """
        self._takes_json = True
        return read_json(self.request, kind)

    def fields(self, *names: str) -> list[str]:
        """Return these fields of a form or a JSON object; a missing one is an empty string.

        Raises HTTPError 400 if the body is not valid JSON or not UTF-8, and 422 if a field of
        the JSON object is not a string.
        """
        return read_fields(self.request, *names)

    def answer_done(self, target: str) -> None:
        """Answer a change that was made: redirect a form to `target`, send a script 204."""
        if self._accepts("text/html") and not self.wants_json:
            self.redirect(target, status=303)
        else:
            self.set_status(204)

    def _accepts(self, media_type: str) -> bool:
        return media_type in self.request.headers.get("Accept", "")

    # -- called by Tornado --

    def get_login_url(self) -> str:
        """Return where `@tornado.web.authenticated` sends a visitor; a script gets a 401."""
        if self.wants_json:
            raise SignInFirst
        return super().get_login_url()

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log the 401 that a refused script gets; a form goes to the login page without a line.

        `@tornado.web.authenticated` raises a 403 in both cases.
        """
        if needs_sign_in(value):
            if not self.wants_json:
                return
            value = SignInFirst()
        super().log_exception(typ, value, tb)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer an error as a page or as `{"error": sentence}`."""
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, SessionEnded):
            if not response_begun(self):
                self.become_visitor()
            self._send_to_login("your session has ended; sign in again")
            return
        if needs_sign_in(error):
            self._send_to_login(SignInFirst.sentence)
            return
        answer = error_answer(error, status_code, reason_phrase(self))
        self.set_status(answer.status)
        self.set_header("Cache-Control", "no-store")
        if answer.retry_after:
            self.set_header("Retry-After", str(answer.retry_after))
        self._write_answer(answer)

    def _write_answer(self, answer: ErrorAnswer) -> None:
        """Write what is wrong as JSON, as a page, or without templates as text."""
        if self.wants_json:
            self.finish(answer.body)
        elif self.settings.get("template_path"):
            self.render("error.html", status=answer.status, sentence=answer.sentence)
        else:
            self.set_header("Content-Type", "text/plain; charset=UTF-8")
            self.finish(f"{answer.status}: {answer.sentence}\n")

    def _send_to_login(self, sentence: str) -> None:
        """Redirect a browser to the login page, send a script 401 with this sentence."""
        if self.wants_json:
            self.set_status(401)
            self.finish({"error": sentence})
        else:
            getting = self.request.method in ("GET", "HEAD")
            back = str(self.request.uri) if getting else self.url(self.page)
            self.redirect(self.url("/login", next=back), status=303)

    def get_template_namespace(self) -> dict[str, Any]:
        """Return the names that every template may use."""
        return {
            **super().get_template_namespace(),
            "session": self._loaded_session,
            "settings": self.services.settings,
            "socket_io_script": self.web.socket_io_script,
            "base_path": self.services.settings.base_path,
            "url": self.url,
        }
