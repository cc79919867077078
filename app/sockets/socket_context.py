"""The session of a connection."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

_FORMER_ID_TIMEOUT = 10.0  # seconds in which the browser gets the new cookie


@dataclass(slots=True)
class SocketContext:
    """The session of a connection, stored once: in the `context` of its Engine.IO connection."""

    session_id: str
    network: str = ""  # of the client, as limits know it
    cookie_returned: bool = True  # whether the client has sent the session's cookie
    dead_ids: list[str] | tuple[str, ...] = ()  # of cookies that were invalid at the handshake
    request_id: str = ""  # of the handshake
    opened_in: object = None  # the reference of the handshake's span
    former_id: str = ""  # of the session before it got a new one
    former_until: float = 0.0  # when requests may not show that any more, by the loop's clock

    def replace(self, new_id: str) -> None:
        """Go on under the new id of the session.

        Requests of this connection may still show the old cookie for a moment: they were under way,
        or the answer with the new one is.
        """
        self.former_id, self.session_id = self.session_id, new_id
        self.former_until = asyncio.get_running_loop().time() + _FORMER_ID_TIMEOUT

    def accepts(self, cookie_ids: list[str]) -> bool:
        """Whether a request of this connection shows the id before, and may still do so."""
        return self.former_id in cookie_ids and (
            asyncio.get_running_loop().time() < self.former_until
        )
