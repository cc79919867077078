"""What happens when a session ends: who is told, in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from app.extensions import Extension
from app.optional_cluster import Cluster
from app.services import Services
from app.sessions.end_reason import EndReason
from app.sessions.manager import Sessions
from app.sessions.session import Session
from app.sockets.connections import Connections
from app.stores import Record

#: Called with the id, the reason, and the record if this process removed it.
OnEnd = Callable[[str, EndReason, Record | None], Any]


def session_end_listeners(
    services: Services,
    connections: Connections,
    cluster: Cluster | None,
    extensions: Sequence[Extension],
) -> list[OnEnd]:
    """Return who is told of the end of a session, in this order, whichever process ended it."""
    return [
        services.device_watchers.session_ended,  # account pages of the user remove the row
        connections.close_session,  # its clients are told why and closed
        services.counters.session_ended,
        services.audit.session_ended,
        *([cluster.session_ended] if cluster else []),  # other processes close their clients
        services.impersonation.session_ended,  # that of an administrator ends with the other one
        *(
            _with_session(services.sessions, extension.on_session_end)
            for extension in extensions
            if extension.on_session_end is not None
        ),
    ]


def _with_session(sessions: Sessions[Any], hook: Callable[[Session[Any], EndReason], Any]) -> OnEnd:
    """Return a listener that calls a hook with the session, in the process that ended it."""

    def listener(session_id: str, reason: EndReason, record: Record | None) -> Any:
        # if another process ended the session there is no record
        return None if record is None else hook(Session(sessions.records, record), reason)

    return listener
