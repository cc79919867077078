"""Requests that Engine.IO does not allow."""

from __future__ import annotations

from tornado.web import HTTPError

#: Engine.IO's error codes and their words, as in Node's server.
UNKNOWN_TRANSPORT, UNKNOWN_SID, BAD_METHOD, BAD_REQUEST, FORBIDDEN, BAD_VERSION = range(6)
MESSAGES = (
    "Transport unknown",
    "Session ID unknown",
    "Bad handshake method",
    "Bad request",
    "Forbidden",
    "Unsupported protocol version",
)


def old_client(revision: str | None) -> str:
    """Say which client speaks this revision of Engine.IO, and which one is needed."""
    if revision == "3":
        return (
            "client speaks Engine.IO 3 (socket.io-client 2.x); socket.io-client 3 or newer is "
            "needed, see docs/clients.md"
        )
    if not revision:
        return "client names no revision of Engine.IO, EIO=4 is needed"
    return f"client speaks Engine.IO {revision[:20]!r}, 4 is needed"


class RequestError(HTTPError):
    """A request that Engine.IO does not allow: 400 and a JSON body with one of its codes."""

    def __init__(self, code: int, why: str = "") -> None:
        """`why` is for the log; the client gets the words that belong to the code."""
        super().__init__(403 if code == FORBIDDEN else 400, why or MESSAGES[code])
        self.code = code


class UnknownSid(RequestError):  # the name that applications use
    """An Engine.IO id that is unknown, or that this client may not use: it cannot tell which."""

    def __init__(self) -> None:
        super().__init__(UNKNOWN_SID)
