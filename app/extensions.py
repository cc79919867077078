"""What a handler module offers, and how it becomes part of an application."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from app.services import Services
from app.sessions.session import Reason, Session
from app.stores import Record


def add_module(name: str, services: Services) -> list[Any]:
    """Register what one module of handlers/ offers and return its routes.

    A module may have `routes`, `namespaces`, `before_handshake(handler)`, `on_login(session)`
    and `on_session_end(session, reason)`. A name with dots is that of a module elsewhere.
    """
    module = importlib.import_module(f"handlers.{name}" if "." not in name else name)
    for path, namespace in getattr(module, "namespaces", ()):
        if path in services.socket_server.namespace_handlers:
            raise ValueError(
                f"{module.__name__}: another module has namespace {path}; choose another name"
            )
        services.socket_server.register_namespace(namespace(path, services))
    if hasattr(module, "before_handshake"):
        services.before_handshake.append(module.before_handshake)
    if hasattr(module, "on_login"):
        services.on_login.append(module.on_login)
    if hasattr(module, "on_session_end"):
        services.sessions.on_end.append(_session_hook(services, module.on_session_end))
    return list(getattr(module, "routes", ()))


def _session_hook(services: Services, hook: Callable[..., Any]) -> Any:
    def listener(session_id: str, reason: Reason, record: Record | None) -> Any:
        # without a record this process only hears of an end that another one brought about
        return None if record is None else hook(Session(services.sessions, record), reason)

    return listener
