"""Events that run only shortly after their user has proven who they are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from inspect import isawaitable
from typing import Any, Protocol, cast

from app.services import Services
from app.sessions.authentication import REAUTHENTICATE
from app.sessions.session import Session, SessionFor

Ack = dict[str, str]

_SIGN_IN = "unauthorized"
_ACTING = "only the user may do this, not an administrator who is signed in as the user"


class Namespace(Protocol):
    """What is asked of a namespace."""

    services: Services

    def session_for(self, sid: str) -> SessionFor[Any]:
        """Return the session of a client."""
        ...


def only_after_proof(
    namespace: object, method: Callable[..., Any], minutes: float
) -> Callable[..., Any]:
    """Return the bound method of an event, which runs only if the proof is recent enough."""
    clients = cast(Namespace, namespace)

    @functools.wraps(method)
    async def checked(sid: str, *arguments: Any) -> Any:
        # as it is stored: another process may have given the session a new id and a new proof
        session = await clients.session_for(sid)
        error = _refusal(session, clients.services.sessions.clock(), minutes * 60)
        if error is not None:
            return {"error": error}
        result = method(sid, *arguments)
        return await result if isawaitable(result) else result

    return checked


def _refusal(session: Session[Any], now: float, seconds: float) -> str | None:
    """Return why a session may not run the event; None if it may."""
    if session.user_id is None:
        return _SIGN_IN
    if session.actor is not None:
        return _ACTING
    return None if session.authentication.is_recent(now, seconds) else REAUTHENTICATE
