"""The test kit for forks: an application in the test's process, and visitors with a cookie jar.

Imports accounts, application, module_list, services, sessions, settings, stores and handlers.
Nothing imports it but tests. Needs the extra `testing`.
"""

from app.testing.answer import Answer
from app.testing.clock import MovableClock
from app.testing.site import Site, serve
from app.testing.socket import NotReceived, Socket, SocketRefused
from app.testing.visitor import PASSWORD, FormRefused, Transport, Visitor

__all__ = [
    "PASSWORD",
    "Answer",
    "FormRefused",
    "MovableClock",
    "NotReceived",
    "Site",
    "Socket",
    "SocketRefused",
    "Transport",
    "Visitor",
    "serve",
]
