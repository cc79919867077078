"""Bytes of a socket that the kernel holds: not acknowledged by the client, or not read yet."""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios


def unacknowledged(transport: asyncio.BaseTransport) -> int:
    """Return how many bytes of a socket the client's machine has not acknowledged.

    A slow connection empties the write buffer in steps of a megabyte, since the kernel keeps so
    much. This number falls with each packet that arrives.
    """
    return _ask_kernel(transport, termios.TIOCOUTQ)


def unread(transport: asyncio.BaseTransport) -> int:
    """Return how many bytes have arrived on a socket that the server has not read."""
    return _ask_kernel(transport, termios.FIONREAD)


def _ask_kernel(transport: asyncio.BaseTransport, request: int) -> int:
    """Ask for a number of bytes; 0 if the socket is closed or the system cannot tell."""
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        return int.from_bytes(fcntl.ioctl(descriptor, request, bytes(4)), sys.byteorder)
    except (AttributeError, OSError, RuntimeError, ValueError):
        return 0
