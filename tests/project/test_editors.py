"""What mypy and pyright, and so editors, know in a module of a fork."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = [pytest.mark.xdist_group("editors")]

GOOD = """
from __future__ import annotations

from typing import Any, assert_type

import msgspec
from tornado.web import authenticated

from app.accounts import Account
from app.hooks import (
    BeforeHandshake,
    MaySignIn,
    OnAccountChanged,
    OnAccountCreated,
    OnAccountDeleted,
    OnLogin,
    OnSessionEnd,
    OnStart,
)
from app.services import Services
from app.sessions import EndReason, Session
from app.sockets import ConnectionRefused, HandshakeHandler, event
from app.web.require_role import require_role
from handlers.session import BaseHandler, BaseNamespace, SessionData


class Order(msgspec.Struct):
    item: str
    amount: int = 1


class OrderHandler(BaseHandler):
    @authenticated
    async def post(self) -> None:
        order = self.json(Order)
        assert_type(order, Order)
        assert_type(self.json(list[int]), list[int])
        async with self.session as data:
            assert_type(data, SessionData)
        assert_type(self.session.data, SessionData)
        assert_type(self.session.user, str | None)
        assert_type(self.session.user_id, str | None)
        await self.emit_to_session("ordered", order.item)
        self.redirect(self.url("/"))

    @require_role("moderator", "admin")
    async def get(self, number: str = "") -> None:
        assert_type(await self.has_role("moderator"), bool)
        assert_type(self.session.data, SessionData)

    @require_role("moderator")
    def total(self, number: int) -> int:
        return number


class ModeratorHandler(BaseHandler):
    role_required = "moderator"

    async def get(self) -> None:
        assert_type(OrderHandler.total(OrderHandler(self.application, self.request), 1), int)


class EditorHandler(BaseHandler):
    role_required = ("moderator", "editor")


class DeskNamespace(BaseNamespace):
    role_required = ("moderator", "editor")

    @event(role_required="admin")
    async def on_close(self, sid: str) -> int:
        assert_type(await self.has_role(sid, "admin"), bool)
        return 1

    @event("close all", role_required=["admin", "owner"])
    async def close_all(self, sid: str) -> None:
        assert_type(await self.on_close(sid), int)


class OrderNamespace(BaseNamespace):
    login_required = True

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any) -> None:
        await self.enter_room(sid, "orders")

    @event("new order")
    async def order(self, sid: str, item: str) -> int:
        async with self.session_for(sid) as data:
            assert_type(data, SessionData)
        session = await self.session_for(sid)
        assert_type(session, Session[SessionData])
        assert_type(session.data, SessionData)
        assert_type(await self.user_for(sid), str | None)
        await self.emit("ordered", {"item": item}, to="orders", skip_sid=sid)
        await self.emit_to_session(sid, "ordered", item)
        assert_type(self.rooms(sid), list[str | int])
        assert_type(await self.services.presence.users("/orders"), set[str])
        for row in await self.services.presence.of("an id"):
            await self.services.emit_to_user("an id", "open", row.sockets, namespace=row.namespace)
        return len(item)

    async def on_any(self, sid: str, event: str, *args: Any) -> None:
        raise ConnectionRefused("closed", {"until": self.parameters["day"]})

    async def on_user_join(self, user_id: str) -> None:
        await self.emit("joined", user_id)


async def start(services: Services) -> None:
    services.background(note(services))


async def note(services: Services) -> None:
    assert_type(await services.roles.set("an id", add=["editor"]), frozenset[str])
    assert_type(await services.roles.of("an id"), frozenset[str])
    await services.sessions.end("an id", "revoked")


async def greet(session: Session[SessionData]) -> None:
    assert_type(session.data, SessionData)


def farewell(session: Session[SessionData], reason: EndReason) -> None:
    pass


async def banned(account: Account) -> str | None:
    return f"{account.name} is banned." if account.id == "b" else None


async def created(account: Account, services: Services) -> None:
    assert_type(await services.accounts.by_ids([account.id]), dict[str, Account])


async def changed(account_id: str, services: Services) -> None:
    assert_type(await services.accounts.by_id(account_id), Account | None)


def refuse(handler: HandshakeHandler) -> None:
    assert_type(handler.remote_address, str)


on_start: OnStart = start
may_sign_in: MaySignIn = banned
on_account_created: OnAccountCreated = created
on_account_deleted: OnAccountDeleted = created
on_account_changed: OnAccountChanged = changed
on_login: OnLogin = greet
on_session_end: OnSessionEnd = farewell
before_handshake: BeforeHandshake = refuse
routes = [("/order", OrderHandler)]
namespaces = [("/orders", OrderNamespace)]
"""

# each line with a comment `wrong` is an error, and no other
BAD = """
from __future__ import annotations

from typing import Any

import msgspec

from app.accounts import Account
from app.hooks import MaySignIn, OnLogin, OnSessionEnd, OnStart
from app.services import Services
from app.sessions import Session
from app.sockets import event
from app.web.require_role import require_role
from handlers.session import BaseHandler, BaseNamespace, SessionData


class Order(msgspec.Struct):
    item: str


class ModeratorHandler(BaseHandler):
    role_required = 7  # wrong

    @require_role("moderator")
    async def get(self, number: str) -> None:
        await self.has_role(7)  # wrong

    async def post(self) -> None:
        await self.get(7)  # wrong


class DeskNamespace(BaseNamespace):
    role_required = 7  # wrong

    @event(role_required=7)  # wrong
    async def on_close(self, sid: str) -> int:
        return 1

    @event(role="moderator")  # wrong
    async def on_open(self, sid: str) -> None:
        (await self.on_close(sid)).cuont  # wrong


class Note(msgspec.Struct):
    @require_role("moderator")  # wrong
    async def get(self) -> None:
        pass


class OrderHandler(BaseHandler):
    async def post(self) -> None:
        self.json(Order).itme  # wrong
        async with self.session as data:
            data.cuont = 1  # wrong
        self.session.data.cuont  # wrong
        self.session.usr  # wrong
        self.emit_to_session(1)  # wrong


class OrderNamespace(BaseNamespace):
    async def on_order(self, sid: str, item: str) -> None:
        async with self.session_for(sid) as data:
            data.cuont = 1  # wrong
        (await self.session_for(sid)).data.cuont  # wrong
        await self.emit("ordered", item, too=sid)  # wrong
        await self.enter_room(sid, item, 1)  # wrong
        await self.emit_to_session(sid)  # wrong
        await self.services.emit_to_user(None, "ordered")  # wrong
        await self.services.presence.user("/orders")  # wrong

    async def before_event(self, sid: str) -> None:  # wrong
        pass

    async def on_user_join(self) -> None:  # wrong
        pass


def start() -> None:
    pass


async def banned(account: Account) -> bool:
    return True


async def greet(session: Session[SessionData], reason: str) -> None:
    pass


def farewell(session: Session[SessionData], reason: int) -> None:
    pass


on_start: OnStart = start  # wrong
may_sign_in: MaySignIn = banned  # wrong
on_login: OnLogin = greet  # wrong
on_session_end: OnSessionEnd = farewell  # wrong
"""

MYPY = ["mypy", "--no-error-summary", "--no-pretty", "--hide-error-context"]


@pytest.mark.parametrize("checker", [MYPY, ["pyright"]], ids=["mypy", "pyright"])
def test_a_checker_finds_what_is_wrong_and_nothing_else(tmp_path: Path, checker: list[str]) -> None:
    """With the settings of pyproject.toml, which a fork has too."""
    (tmp_path / "good_orders.py").write_text(GOOD)
    (tmp_path / "bad_orders.py").write_text(BAD)
    done = subprocess.run(
        [sys.executable, "-m", *checker, tmp_path / "good_orders.py", tmp_path / "bad_orders.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    errors = re.findall(r"(\w+)\.py:(\d+)(?::\d+)?(?: -)?:? error", done.stdout)
    wrong = [
        ("bad_orders", str(number))
        for number, line in enumerate(BAD.splitlines(), 1)
        if line.endswith("# wrong")
    ]
    assert sorted(set(errors)) == sorted(wrong), done.stdout + done.stderr
