"""The hooks of a module of handlers/: their types, and a check of what they take."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from app.accounts import Account
from app.services import Services
from app.sessions.end_reason import EndReason
from app.sessions.session import Session
from app.sockets.handshake import HandshakeHook

__all__ = [
    "TAKES",
    "BeforeHandshake",
    "MaySignIn",
    "OnAccountChanged",
    "OnAccountCreated",
    "OnAccountDeleted",
    "OnLogin",
    "OnSessionEnd",
    "OnStart",
    "OnStop",
    "hook_error",
    "with_services",
]

T = TypeVar("T")
Result = Awaitable[None] | None
Sentence = Awaitable[str | None] | str | None

# A type checker knows the hooks of a module if it says `on_login: OnLogin = greet`.
OnStart = Callable[[Services], Result]
OnStop = Callable[[Services], Result]
BeforeHandshake = HandshakeHook
MaySignIn = Callable[[Account], Sentence] | Callable[[Account, Services], Sentence]
OnAccountCreated = Callable[[Account], Result] | Callable[[Account, Services], Result]
OnAccountDeleted = OnAccountCreated
OnAccountChanged = Callable[[str, Services], Result]
OnLogin = Callable[[Session[Any]], Result]
OnSessionEnd = Callable[[Session[Any], EndReason], Result]

#: What each hook takes; those that take an account may take `services` after it.
TAKES = MappingProxyType(
    {
        "on_start": ("services",),
        "on_stop": ("services",),
        "before_handshake": ("handler",),
        "may_sign_in": ("account",),
        "on_account_created": ("account",),
        "on_account_deleted": ("account",),
        "on_account_changed": ("account_id", "services"),
        "on_login": ("session",),
        "on_session_end": ("session", "reason"),
    }
)


_WITH_SERVICES = ("account", "services")


def hook_error(name: str, hook: Any) -> str | None:
    """Return what is wrong with a hook of this name; None if it can be called as that."""
    forms = [TAKES[name], _WITH_SERVICES] if TAKES[name] == ("account",) else [TAKES[name]]
    call = " or ".join(f"{name}({', '.join(arguments)})" for arguments in forms)
    if not callable(hook):
        return f"`{name}` is no function; write one that can be called as {call}"
    try:
        signature = inspect.signature(hook)
    except ValueError:  # of a function in C, which does not tell
        return None
    if not any(_takes(signature, arguments) for arguments in forms):
        return f"{name}{signature} cannot be called as {call}; change its parameters"
    return None


def with_services(
    hook: Callable[[Account], T] | Callable[[Account, Services], T], services: Services
) -> Callable[[Account], T]:
    """Return a function of an account, which calls a hook that may take `services` too.

    The hook gets them if it has a parameter of that name, or cannot be called without.
    """
    call: Any = hook
    try:
        signature = inspect.signature(hook)
    except ValueError:
        return call  # type: ignore[no-any-return]
    wanted = "services" in signature.parameters or not _takes(signature, ("account",))
    if wanted and _takes(signature, _WITH_SERVICES):
        return lambda account: call(account, services)
    return call  # type: ignore[no-any-return]


def _takes(signature: inspect.Signature, arguments: Sequence[str]) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True
