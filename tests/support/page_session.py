"""A fork with a form on a page that has static/session.js, and an event that needs a proof."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tornado.web import authenticated

from app.sockets import event
from app.web.recent_sign_in import recent_sign_in
from tests.support.demo.session import BaseHandler, BaseNamespace
from tests.support.fork import fork


class NoteHandler(BaseHandler):
    """A form that somebody writes for a long time."""

    @authenticated
    async def get(self) -> None:
        self.render(str(Path(__file__).with_name("page_session.html")))

    @authenticated
    async def post(self) -> None:
        note, how = self.fields("note", "how")
        self.write({"note": note, "how": how, "user": self.session.user})


class SecretHandler(BaseHandler):
    """What a script does with a recent proof only."""

    @recent_sign_in(minutes=10)
    async def post(self) -> None:
        self.write({"secret": 42})


class VaultNamespace(BaseNamespace):
    """An event that needs a recent proof."""

    login_required = True

    @event(recent_sign_in=10)
    async def on_open(self, sid: str, what: str) -> str:
        return f"opened {what}"


ROUTES = [(r"/note", NoteHandler), (r"/secret", SecretHandler)]


def note_site(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """Return the modules of the fork."""
    modules = fork(monkeypatch, routes=ROUTES, namespaces=[("/vault", VaultNamespace)])
    return (*modules, "handlers.signed_in", "handlers.account", "handlers.reauthenticate")
