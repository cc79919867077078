"""Methods of handlers that an administrator may not call who is signed in as the user."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from tornado.web import HTTPError

from app.sessions.session import Session

P = ParamSpec("P")
T = TypeVar("T")

_SENTENCE = "Only the user may do this; you have signed in as somebody else."


class Handler(Protocol):
    """A handler with a session."""

    session: Session[Any]


H = TypeVar("H", bound=Handler)


def user_only(method: Callable[Concatenate[H, P], T]) -> Callable[Concatenate[H, P], T]:
    """Refuse (403) a method of a handler to an administrator who has signed in as the user.

    For what belongs to the user alone: passwords and other credentials, and the deletion of the
    account. What `recent_sign_in` guards is refused to them anyway.
    """

    @functools.wraps(method)
    def checked(handler: H, /, *args: P.args, **options: P.kwargs) -> T:
        check_user(handler.session)
        return method(handler, *args, **options)

    return checked


def check_user(session: Session[Any]) -> None:
    """Raise HTTPError 403 if an administrator has signed in as the user of this session."""
    if session.actor is not None:
        raise HTTPError(403, _SENTENCE)
