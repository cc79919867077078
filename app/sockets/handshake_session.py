"""The session of a handshake, of Socket.IO and of plain WebSockets: found, or created."""

from __future__ import annotations

from app.sessions.codec import D
from app.sessions.session import Session
from app.web.session_lookup import SessionLookup


async def open_session(
    handler: SessionLookup[D], session: Session[D] | None, *, is_new: bool
) -> Session[D]:
    """Return the session of a handshake, and store one if it has none; let it end in time.

    A session `is_new` if the request's cookie does not name it: its cookie is put on the response.
    """
    services = handler.services
    if not session:
        session = await services.sessions.create(
            remote_address=handler.remote_address, user_agent=handler.user_agent
        )
    if is_new:
        handler.send_cookie(session)
    else:
        services.sessions.touch(session)
    assert session.record is not None  # it is stored
    services.expiry.watch_connected(session.record)
    return session
