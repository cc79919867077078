"""The base class of pages."""

from __future__ import annotations

from typing import Any, ClassVar, Generic

from tornado.web import HTTPError

from app.sessions.codec import D
from app.sessions.room_name import session_room
from app.sessions.session import SessionEnded
from app.transport.tornado_private import reason_phrase, response_begun
from app.web.errors import ErrorAnswer, error_answer, raised_by_authenticated
from app.web.form import is_json, read_fields
from app.web.json_body import T, read_json
from app.web.session_handler import SessionHandler

_SIGN_IN_FIRST = "sign in first"


class BaseHandler(SessionHandler[D], Generic[D]):
    """A page or endpoint with a session.

    `self.session` is loaded before the method runs; `async with self.session as data` edits it.
    A visitor without a session gets one, and its cookie, with the first edit.
    """

    #: Path to go to after a sign-in that a form of this handler required, without the base path.
    page: ClassVar[str] = "/"

    _takes_json = False  # whether the handler has asked for JSON

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
            raise HTTPError(401, _SIGN_IN_FIRST)
        return super().get_login_url()

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log the 401 that a refused script gets; a form goes to the login page without a line.

        The error itself is a 403, which `@tornado.web.authenticated` raises in both cases.
        """
        if raised_by_authenticated(value):
            if not self.wants_json:
                return
            value = HTTPError(401, _SIGN_IN_FIRST)
        super().log_exception(typ, value, tb)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer an error as a page or as `{"error": sentence}`."""
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, SessionEnded):
            if not response_begun(self):
                self.become_visitor()
            self._send_to_login("your session has ended; sign in again")
            return
        if raised_by_authenticated(error):
            self._send_to_login(_SIGN_IN_FIRST)
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
