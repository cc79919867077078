"""A decorator for what a user may do only shortly after they have proven who they are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from inspect import isawaitable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tornado.web import authenticated

from app.sessions.authentication import REAUTHENTICATE
from app.web.base_handler import BaseHandler
from app.web.user_only import check_user

F = TypeVar("F", bound=Callable[..., Any])


def recent_sign_in(*, minutes: float) -> Callable[[F], F]:
    """Let a method of a handler run only if the user has proven who they are lately.

        @recent_sign_in(minutes=10)
        async def post(self) -> None: ...

    It includes `@authenticated`. A user whose proof is older is asked for it again (OWASP ASVS
    5.0, 7.5): a link leads to /reauthenticate and back, a form too, without losing what was typed,
    and a script gets 403 `{"error": "reauthenticate"}`. An administrator who has signed in as
    somebody else is refused. Raises ValueError unless `minutes` is more than 0.
    """
    if not minutes > 0:
        raise ValueError(f"@recent_sign_in(minutes={minutes!r}): give a number above 0")

    def decorate(method: F) -> F:
        for_users = authenticated(method)

        @functools.wraps(method)
        async def checked(self: BaseHandler[Any], *args: Any, **options: Any) -> None:
            if self.session.user_id is not None and not is_recent(self, minutes):
                _ask(self)
                return
            result = for_users(self, *args, **options)
            if isawaitable(result):
                await result

        return checked  # type: ignore[return-value]  # Tornado awaits what is awaitable

    return decorate


def is_recent(handler: BaseHandler[Any], minutes: float) -> bool:
    """Whether the user of a request has proven who they are in the last `minutes`.

    Raises HTTPError 403 for an administrator who has signed in as this user.
    """
    check_user(handler.session)
    # of the record that this request has loaded from the store; a proof makes a new record
    authentication = handler.session.authentication
    return authentication.is_recent(handler.services.sessions.clock(), minutes * 60)


def _ask(handler: BaseHandler[Any]) -> None:
    """Send a browser to the page that asks for a proof, and tell a script that it is needed."""
    handler.set_header("Cache-Control", "no-store")
    method, here = handler.request.method, str(handler.request.uri)
    if handler.wants_json or method not in ("GET", "HEAD", "POST"):
        handler.set_status(403)
        handler.finish({"error": REAUTHENTICATE})
    elif method == "POST":
        # 307 sends the form to that page, which gives it back after the proof
        address = handler.url("/reauthenticate", next=here, form=_page_of_form(handler))
        handler.redirect(address, status=307)
    else:
        handler.redirect(handler.url("/reauthenticate", next=here), status=303)


def _page_of_form(handler: BaseHandler[Any]) -> str:
    """Return the address of the page that a form was sent from, as far as the browser tells."""
    referer = urlsplit(handler.request.headers.get("Referer", ""))
    if referer.netloc != handler.request.host:
        return handler.url(handler.page)
    return referer.path + (f"?{referer.query}" if referer.query else "")
