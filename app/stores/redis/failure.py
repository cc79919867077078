"""Why a Redis or a Sentinel cannot be used, in words."""

from __future__ import annotations

import socket

from redis.exceptions import TimeoutError as RedisTimeout


def sentence(error: Exception) -> str:
    """Return why a Redis cannot be used: what it does, or what it or its Sentinels said."""
    of_the_system = isinstance(error, TimeoutError) or getattr(error, "errno", None) is not None
    if of_the_system or _refused(error):
        return f"it {in_words(error)}"
    return str(error) or type(error).__name__


def in_words(error: BaseException) -> str:
    """Return what a server does, such as "refuses connections"; the caller names the server."""
    causes = (error, error.__cause__, error.__context__)
    if any(isinstance(cause, TimeoutError | RedisTimeout) for cause in causes):
        return "does not answer"
    # asyncio joins the errors of several addresses of a host in one text
    if any(isinstance(cause, ConnectionRefusedError) or _refused(cause) for cause in causes):
        return "refuses connections"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "has a name that is not known"
    return f"cannot be reached ({_text(error)})"


def _refused(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and "Connect call failed" in str(error)


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
