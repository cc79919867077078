"""What a module of handlers/ adds to an application."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from app.sessions.end_reason import EndReason
from app.sessions.session import Session
from app.sockets.handshake import HandshakeHook
from app.sockets.namespace import BaseNamespace

Result = Awaitable[None] | None


@dataclass(frozen=True, kw_only=True)
class Extension:
    """What one module offers: its attributes of these names."""

    #: The module's name.
    name: str
    #: Routes, as Tornado takes them.
    routes: Sequence[Any] = ()
    #: Names of Socket.IO namespaces and their classes.
    namespaces: Sequence[tuple[str, type[BaseNamespace[Any]]]] = ()
    #: Refuses a Socket.IO handshake by raising `tornado.web.HTTPError`.
    before_handshake: HandshakeHook | None = None
    #: Runs when a user has signed in.
    on_login: Callable[[Session[Any]], Result] | None = None
    #: Runs when a session has ended, in the process that ended it.
    on_session_end: Callable[[Session[Any], EndReason], Result] | None = None


def load_extensions(names: Sequence[str]) -> list[Extension]:
    """Import the modules with these dotted names and collect what they offer.

    Raises ValueError if two of them have the same namespace.
    """
    extensions = [_load(name) for name in names]
    taken: set[str] = set()
    for extension in extensions:
        for path, _ in extension.namespaces:
            if path in taken:
                raise ValueError(
                    f"{extension.name}: another module has namespace {path}; choose another name"
                )
            taken.add(path)
    return extensions


def _load(name: str) -> Extension:
    module = importlib.import_module(name)
    offered = {
        field.name: getattr(module, field.name)
        for field in fields(Extension)
        if field.name != "name" and hasattr(module, field.name)
    }
    return Extension(name=name, **offered)
