"""The hooks of a module of handlers/: their types, and a check of what they take."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Any

from app.accounts import Account
from app.services import Services
from app.sessions.end_reason import EndReason
from app.sessions.session import Session
from app.sign_in import MaySignIn
from app.sockets.handshake import HandshakeHook

__all__ = [
    "TAKES",
    "BeforeHandshake",
    "MaySignIn",
    "OnAccountCreated",
    "OnAccountDeleted",
    "OnLogin",
    "OnSessionEnd",
    "OnStart",
    "OnStop",
    "hook_error",
]

Result = Awaitable[None] | None

# A type checker knows the hooks of a module if it says `on_login: OnLogin = greet`.
OnStart = Callable[[Services], Result]
OnStop = Callable[[Services], Result]
BeforeHandshake = HandshakeHook
OnAccountCreated = Callable[[Account], Result]
OnAccountDeleted = Callable[[Account], Result]
OnLogin = Callable[[Session[Any]], Result]
OnSessionEnd = Callable[[Session[Any], EndReason], Result]

#: What each hook takes.
TAKES = MappingProxyType(
    {
        "on_start": ("services",),
        "on_stop": ("services",),
        "before_handshake": ("handler",),
        "may_sign_in": ("account",),
        "on_account_created": ("account",),
        "on_account_deleted": ("account",),
        "on_login": ("session",),
        "on_session_end": ("session", "reason"),
    }
)


def hook_error(name: str, hook: Any) -> str | None:
    """Return what is wrong with a hook of this name; None if it can be called as that."""
    arguments = TAKES[name]
    call = f"{name}({', '.join(arguments)})"
    if not callable(hook):
        return f"`{name}` is no function; write one that can be called as {call}"
    try:
        signature = inspect.signature(hook)
    except ValueError:  # of a function in C, which does not tell
        return None
    try:
        signature.bind(*arguments)
    except TypeError:
        return f"{name}{signature} cannot be called as {call}; change its parameters"
    return None
