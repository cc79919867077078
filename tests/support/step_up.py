"""A fork with a page and sockets that need a recent proof of who the user is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.sockets import event
from app.web.recent_sign_in import recent_sign_in
from tests.support.demo.session import BaseHandler, BaseNamespace, BaseWebSocket
from tests.support.fork import fork
from tests.support.forms import PASSWORD
from tests.support.visitor import Visitor

LATE = 11 * 60  # seconds after which a proof is no longer recent
PROOF = {"password": PASSWORD}


class TransferHandler(BaseHandler):
    """A form that nobody may send with a proof of yesterday."""

    page = "/form"

    @recent_sign_in(minutes=10)
    async def get(self) -> None:
        self.write("the page")

    @recent_sign_in(minutes=10)
    async def post(self) -> None:
        self.write(f"sent {self.fields('to', 'note')}")

    @recent_sign_in(minutes=10)
    def delete(self) -> None:
        self.write("deleted")


class VaultNamespace(BaseNamespace):
    """Two events that need a proof, and one that does not."""

    @event(recent_sign_in=10)
    async def on_open(self, sid: str) -> str:
        return "opened"

    @event("take all", recent_sign_in=10)
    def take_all(self, sid: str, amount: int) -> int:
        return amount

    async def on_look(self, sid: str) -> str:
        return "looked"


class StrictNamespace(BaseNamespace):
    """Needs a proof for all but one."""

    recent_sign_in = 10

    async def on_open(self, sid: str) -> str:
        return "opened"

    async def on_any(self, sid: str, event: str, *args: Any) -> str:
        return event

    @event(recent_sign_in=0)
    async def on_look(self, sid: str) -> str:
        return "looked"


class SlowNamespace(BaseNamespace):
    """Waits where tests want it to, for `go_on`."""

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.waiting = 0
        self.go_on = asyncio.Event()

    async def pause(self) -> None:
        self.waiting += 1
        await self.go_on.wait()

    async def on_connect(self, sid: str, environ: Any, auth: Any = None) -> None:
        if auth:
            await self.pause()

    async def on_edit(self, sid: str) -> int:
        """Edit slowly."""
        async with self.session_for(sid) as data:
            await self.pause()
            data.count += 1
        return data.count

    async def on_late(self, sid: str) -> int:
        """Edit late."""
        session = self.session_for(sid)
        await self.pause()
        async with session as data:
            data.count += 1
        return data.count

    async def on_leave(self, sid: str) -> None:
        """Edit when the client has left."""
        self.services.background(self.on_late(sid))

    async def on_whoami(self, sid: str) -> str | None:
        return await self.user_for(sid)


class PlainSocket(BaseWebSocket):
    """Raises the counter."""

    async def receive(self, message: str | bytes) -> None:
        async with self.session as data:
            data.count += 1
        await self.write_message(str(data.count))


ROUTES = [(r"/transfer", TransferHandler), (r"/plain", PlainSocket)]
NAMESPACES = [
    ("/vault", VaultNamespace),
    ("/strict", StrictNamespace),
    ("/slow", SlowNamespace),
]


def step_up_modules(monkeypatch: pytest.MonkeyPatch, **attributes: Any) -> tuple[str, ...]:
    """Return the modules of such a fork, which also has these attributes."""
    modules = fork(monkeypatch, routes=ROUTES, namespaces=NAMESPACES, **attributes)
    stock = ("reauthenticate", "signed_in", "account", "admin")
    return (*modules, *(f"handlers.{name}" for name in stock))


async def prove(visitor: Visitor, **fields: str) -> int:
    """Prove by a script who the user is; return the status."""
    answer = await visitor.post("/reauthenticate", json={**PROOF, **fields})
    return answer.status
