"""The request, or the client of a socket, that the running code works for; the log names it."""

from __future__ import annotations

import itertools
import re
import secrets
from contextvars import ContextVar
from typing import Protocol


class SocketClient(Protocol):
    """The client of a socket."""

    @property
    def request_id(self) -> str:
        """Id of the request that opened its connection."""
        ...


class Span(Protocol):
    """The span of a page or an event, if it is traced."""

    @property
    def trace_id(self) -> str:
        """Id of its trace, 32 hexadecimal digits."""
        ...

    @property
    def reference(self) -> object:
        """Return what spans of other traces link to."""
        ...

    def fail(self, error: str) -> None:
        """Note that the server is to blame for a failure of this kind."""


#: Id of the request that is handled; an empty string if it is an event of a socket.
request_id: ContextVar[str] = ContextVar("latchkey_request_id", default="")
#: The client whose event is handled. Tasks that the handler starts inherit it.
client: ContextVar[SocketClient | None] = ContextVar("latchkey_client", default=None)
#: The span of the page or event that is handled; None unless it is traced.
span: ContextVar[Span | None] = ContextVar("latchkey_span", default=None)

_VALID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


def current_request_id() -> str:
    """Return the id of the request, or of the client's handshake; an empty string beside both."""
    here = client.get()
    return request_id.get() or (here.request_id if here is not None else "")


def current_trace_id() -> str:
    """Return the id of the trace, or an empty string."""
    here = span.get()
    return "" if here is None else here.trace_id


class RequestIds:
    """Ids of requests: those that a trusted proxy gives, else new ones."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def of(self, given: str | None) -> str:
        """Return the id that a proxy gave in X-Request-ID, if it is a valid one, else a new one."""
        if given is not None and _VALID.fullmatch(given):
            return given
        return f"{self._process}-{next(self._numbers):x}"
