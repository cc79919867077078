"""File descriptors: whether the process has any left."""

from __future__ import annotations

import asyncio
import errno
import resource
import sys
from typing import Any

_RESERVE = 64  # descriptors that connections leave to files and databases, a quarter at most


class Descriptors:
    """Tells whether a connection has one of the last descriptors, by its number.

    The system gives out the lowest free number, so a high one means that all below are taken.
    """

    def __init__(self) -> None:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.limit = sys.maxsize if limit == resource.RLIM_INFINITY else limit
        reserve = min(_RESERVE, self.limit // 4)
        self._scarce = self.limit - reserve
        self._last = self.limit - reserve // 2

    def scarce(self, transport: asyncio.BaseTransport) -> bool:
        """Return whether this connection takes a descriptor of the reserve."""
        return self._number(transport) >= self._scarce

    def nearly_gone(self, transport: asyncio.BaseTransport) -> bool:
        """Return whether half of the reserve is taken as well."""
        return self._number(transport) >= self._last

    def _number(self, transport: asyncio.BaseTransport) -> int:
        number: int = transport.get_extra_info("socket").fileno()
        return number

    @property
    def shortage(self) -> str:
        """A sentence for the log: what happens, and what to do."""
        return (
            f"out of file descriptors (limit {self.limit}), connections are refused with 503; "
            "raise the limit with LimitNOFILE= or ulimit -n"
        )


def out_of_descriptors(error: object) -> bool:
    """Return whether a file or a socket could not be opened, because no descriptor was left."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


def failed_accept(context: dict[str, Any]) -> bool:
    """Return whether asyncio reports that it could not accept a connection for that reason."""
    return "socket" in context and out_of_descriptors(context.get("exception"))
