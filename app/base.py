"""What a fork subclasses: BaseHandler for pages, BaseNamespace for sockets."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable
from typing import Any, ClassVar, Generic
from urllib.parse import urlencode

import socketio
from socketio.exceptions import ConnectionRefusedError as ConnectionRefused
from tornado.web import HTTPError

from app.codec import D
from app.lookup import SessionLookup
from app.security import SecurityHeaders
from app.services import Services
from app.session import Session, SessionEnded, SessionFor
from app.stores import Record, StoreError

log = logging.getLogger("latchkey.base")


def session_room(session_id: str) -> str:
    """Name the room that all sockets of a session are in."""
    return "session " + session_id


class BaseHandler(SecurityHeaders, SessionLookup[D], Generic[D]):
    """A page or endpoint with a session.

    `self.session` is loaded before the method runs; `async with self.session as data` edits it.
    A visitor without a session gets one, and its cookie, with the first edit.
    """

    session: Session[D]

    async def prepare(self) -> None:
        self.services.in_hand.add(self)
        self._sent_id = ""
        found = await self.find_session()
        if found is None:
            self.session = self.services.sessions.visitor(
                remote_address=self.remote_address,
                user_agent=self.user_agent,
                may_create=self._may_create,
            )
        else:
            self.session = found
            self._sent_id = found.id
            self.services.sessions.touch(found)

    def get_current_user(self) -> str | None:
        """Name of the user who signed in, for `@tornado.web.authenticated`."""
        # a request that is refused before its session was looked up still gets its error page
        session: Session[D] | None = getattr(self, "session", None)
        return None if session is None else session.user

    async def sign_in(self, user: str) -> None:
        """Give this browser a new session id for `user`.

        Sockets of the old id are closed once the response, and the new cookie, is on its way.
        """
        old = self.session.record
        try:
            self.session = await self._signed_in(user)
        except SessionEnded:
            # it ended meanwhile; whoever proved who he is starts afresh
            self.session = self.services.sessions.visitor(
                remote_address=self.remote_address, user_agent=self.user_agent
            )
            self.session = await self._signed_in(user)
        if old is not None:
            self._replaced = old

    async def _signed_in(self, user: str) -> Session[D]:
        return await self.services.sessions.sign_in(
            self.session, user, remote_address=self.remote_address, user_agent=self.user_agent
        )

    async def sign_out(self) -> None:
        """End this session; its connections are closed when this returns."""
        if self.session:
            await self.services.sessions.end(self.session.id, "logout")
        self.forget_cookie()
        self.session = self.services.sessions.visitor(
            remote_address=self.remote_address, user_agent=self.user_agent
        )
        self._sent_id = ""

    async def emit(self, event: str, data: Any = None, *, namespace: str = "/") -> None:
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
        return kind.strip().lower() == "application/json"

    def fields(self, *names: str) -> list[str]:
        """Return these fields of a form or a JSON object as text; 400 or 422 where they are not."""
        if not self._sent_json:
            return [self._form_field(name) for name in names]
        try:
            body = json.loads(self.request.body)
        except (ValueError, RecursionError):
            raise HTTPError(400, "the body is not JSON") from None
        values = [body.get(name, "") for name in names] if isinstance(body, dict) else []
        texts = [value for value in values if isinstance(value, str)]
        if len(texts) != len(names):
            raise HTTPError(422, f"want a JSON object with texts: {', '.join(names)}")
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
            self._answer_signed_out()
            return
        sentence = self._reason
        if isinstance(error, StoreError):
            status_code, sentence = 503, "The session store does not answer; please try again."
            self.set_header("Retry-After", "1")
        elif isinstance(error, HTTPError) and error.log_message and status_code < 500:
            sentence = error.log_message % error.args if error.args else error.log_message
        self.set_status(status_code)
        self.set_header("Cache-Control", "no-store")
        if self.wants_json:
            self.finish({"error": sentence})
        else:
            self.render("error.html", status=status_code, sentence=sentence)

    def _answer_signed_out(self) -> None:
        if not self._headers_written:
            self.forget_cookie()
        self._sent_id = ""
        self.session = self.services.sessions.visitor(remote_address="", user_agent="")
        if self.wants_json:
            self.set_status(401)
            self.finish({"error": "your session has ended; sign in again"})
        else:
            back = self.request.uri if self.request.method in ("GET", "HEAD") else "/"
            self.redirect("/login?" + urlencode({"next": back}), status=303)

    def log_exception(self, kind: Any, error: Any, traceback: Any) -> None:
        """Log what a client or a store did as one line, and only our own faults with traceback."""
        if isinstance(error, SessionEnded):
            log.info("%s: its session had ended", self._request_summary())
        elif isinstance(error, StoreError):
            log.warning("%s: %s", self._request_summary(), error)
        else:
            super().log_exception(kind, error, traceback)

    def flush(self, include_footers: bool = False) -> Any:
        """Send what was written; before the first bytes, the cookie if the id is a new one."""
        session: Session[D] | None = getattr(self, "session", None)
        if session is not None and not self._headers_written:
            # the page that reports such a change must get through
            if self.get_status() < 500:
                session.check_unchanged()
            if session.id not in ("", self._sent_id):
                self._sent_id = session.id
                self.send_cookie(session)
        return super().flush(include_footers)

    def on_finish(self) -> None:
        """Close the sockets of an id that this response has replaced."""
        self.services.in_hand.discard(self)
        old: Record | None = getattr(self, "_replaced", None)
        if old is not None:
            self.services.background(self.services.sessions.announce(old.id, "regenerated", old))

    def get_template_namespace(self) -> dict[str, Any]:
        return {
            **super().get_template_namespace(),
            "session": getattr(self, "session", None),
            "settings": self.services.settings,
            "socket_io_script": self.settings["socket_io_script"],
        }

    def _may_create(self) -> None:
        if self._headers_written:
            raise RuntimeError(
                "a new session needs its cookie on the response; edit it before the first flush()"
            )


class _Handler:
    """A method that handles an event, and how few and how many arguments it takes."""

    __slots__ = ("few", "many", "method", "waits")

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method
        self.waits = inspect.iscoroutinefunction(method)
        self.few, self.many = 0, 0.0
        for parameter in inspect.signature(method).parameters.values():
            if parameter.kind is parameter.VAR_POSITIONAL:
                self.many = float("inf")
            elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                self.many += 1
                self.few += parameter.default is parameter.empty

    def fitting(self, *arguments: Any) -> tuple[Any, ...]:
        """Leave out the last arguments that a short signature does not want."""
        return arguments if len(arguments) <= self.many else arguments[: int(self.many)]


class BaseNamespace(socketio.AsyncNamespace, Generic[D]):
    """A Socket.IO namespace whose events share the session with the pages.

    Methods are named `on_EVENT` and take the sid and what the client sent. What they return is
    the ack; an error that is the client's or the store's is acked as `{"error": sentence}`.
    """

    login_required: ClassVar[bool] = False

    def __init__(self, namespace: str, services: Services) -> None:
        super().__init__(namespace)
        self.services = services
        self._session_ids: dict[str, str] = {}
        self._handlers: dict[str, _Handler] = {}

    def session_for(self, sid: str) -> SessionFor[D]:
        """`await` it to read the session as it is now; `async with` it to edit."""
        return SessionFor(self.services.sessions, self._session_id(sid))

    async def user_for(self, sid: str) -> str | None:
        """Name of the user who signed in, or None."""
        session: Session[D] = await self.session_for(sid)
        return session.user

    async def emit_to_session(self, sid: str, event: str, data: Any = None) -> None:
        """Send an event to the other sockets of the same session in this namespace."""
        room = session_room(self._session_id(sid))
        # past AsyncServer.emit, which logs each one
        await self.server.manager.emit(event, data, self.namespace, room=room, skip_sid=sid)

    async def before_event(self, sid: str, event: str) -> None:
        """Run before every event: the session must be alive, and this counts as activity.

        A fork may override it; raising SessionEnded closes the connection.
        """
        await self.services.sessions.active(self._session_id(sid))

    async def trigger_event(self, event: str, *args: Any) -> Any:
        """Dispatch one event (python-socketio calls this)."""
        if event == "connect":
            return await self._connect(*args)
        if event == "disconnect":
            return await self._disconnect(*args)
        sid, *sent = args
        try:
            handler = self._handler(event)
            if handler is None:
                log.info("unknown event %r in namespace %s", event[:100], self.namespace)
                return {"error": "unknown event"}
            if not handler.few <= len(args) <= handler.many:
                log.info("event %r came with %d arguments", event[:100], len(sent))
                return {"error": f"{event} does not take {len(sent)} arguments"}
            await self.before_event(sid, event)
            result = handler.method(*args)
            result = await result if handler.waits else result
            # python-socketio acks None with no argument at all; a client expects null
            return (None,) if result is None else result
        except SessionEnded:
            session_id = self._session_ids.get(sid)
            if session_id is not None:
                await self.services.sessions.announce_gone(session_id)
            return {"error": "the session has ended"}
        except StoreError as error:
            log.warning("event %r: %s", event[:100], error)
            return {"error": "the session store does not answer; try again"}
        except Exception:
            log.exception("event %r failed", event[:100])
            return {"error": "internal error"}

    def _handler(self, event: str) -> _Handler | None:
        """Return the method of an event, remembered only where there is one."""
        handler = self._handlers.get(event)
        if handler is None and (method := getattr(self, "on_" + event, None)) is not None:
            handler = self._handlers[event] = _Handler(method)
        return handler

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> Any:
        session_id = environ["latchkey.session_id"]
        session = await self.services.sessions.load(session_id)
        if session is None:
            await self.services.sessions.announce_gone(session_id)
            raise ConnectionRefused("session ended")
        if self.login_required and session.user is None:
            raise ConnectionRefused("unauthorized")
        self._session_ids[sid] = session_id
        await self.enter_room(sid, session_room(session_id))
        handler = self._handler("connect")
        try:
            accepted = handler and handler.method(*handler.fitting(sid, environ, auth))
            if inspect.isawaitable(accepted):
                accepted = await accepted
        except BaseException:
            del self._session_ids[sid]
            raise
        if accepted is False:
            del self._session_ids[sid]
        return accepted

    async def _disconnect(self, sid: str, reason: str = "") -> None:
        handler = self._handler("disconnect")
        try:
            if handler is not None:
                result = handler.method(*handler.fitting(sid, reason))
                if inspect.isawaitable(result):
                    await result
        except SessionEnded:
            log.debug("on_disconnect found its session ended")
        except Exception:
            log.exception("on_disconnect of namespace %s failed", self.namespace)
        finally:
            self._session_ids.pop(sid, None)

    def _session_id(self, sid: str) -> str:
        try:
            return self._session_ids[sid]
        except KeyError:
            raise SessionEnded("") from None
