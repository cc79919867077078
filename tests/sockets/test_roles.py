"""Namespaces and events that need a role."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from app import role_sockets
from app.accounts import AccountsUnavailable
from app.sockets import base_namespace, event
from app.sockets.event_table import event_table
from app.testing import SocketRefused
from tests.support.browsers import browser, each_client
from tests.support.demo.session import BaseNamespace
from tests.support.fork import fork
from tests.support.node_client import NodeSocket, NodeVisitor
from tests.support.raw_websocket import WebSocket
from tests.support.site import Site, serve
from tests.support.users import user_id
from tests.support.visitor import Visitor
from tests.support.waiting import until

SENTENCE = "Only users with the role moderator may do that."


class Desk(BaseNamespace):
    """Moderators only."""

    role_required = "moderator"

    async def on_connect(self, sid: str) -> None:
        await gate.pass_through()

    async def on_who(self, sid: str) -> str:
        return "moderator"

    async def on_slow(self, sid: str) -> str:
        await gate.pass_through()
        return "done"

    @event("close all", role_required=("admin", "owner"))
    async def close_all(self, sid: str) -> str:
        return "closed"


class Chat(BaseNamespace):
    """Everybody, but some events are for moderators."""

    @event(role_required="moderator")
    async def on_ban(self, sid: str, name: str) -> str:
        return f"{name} is banned"

    @event("un ban", role_required="moderator")
    @event("un-ban")
    def unban(self, sid: str) -> str:
        return "free"

    async def on_may(self, sid: str) -> bool:
        return await self.has_role(sid, "moderator", "admin")

    @event(role_required="admin")
    async def on_any(self, sid: str, event: str, *args: Any) -> str:
        return event


class Strict(Chat):
    """Overrides what needs a role."""

    validate = True

    async def on_ban(self, sid: str, name: str) -> str:
        return f"{name} is out"

    @event("un-ban", role_required="admin")
    def unban(self, sid: str) -> str:
        return "free"


class Gate:
    """Holds handlers up when the test says so."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = 0

    async def pass_through(self) -> None:
        self.waiting += 1
        await self.open.wait()
        self.waiting -= 1


gate: Gate


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    global gate
    gate = Gate()
    monkeypatch.setattr(role_sockets, "_CHECK_INTERVAL", 3600.0)  # who is told need not look
    spaces = [("/desk", Desk), ("/chat", Chat), ("/strict", Strict), ("/desk/{name}", Desk)]
    return fork(monkeypatch, namespaces=spaces)


async def give(site: Site, visitor: Any, *roles: str) -> None:
    await site.services.roles.set(await user_id(site, visitor), add=roles)


async def take(site: Site, visitor: Any, *roles: str) -> None:
    await site.services.roles.set(await user_id(site, visitor), remove=roles)


def is_in(socket: Any, namespace: str) -> bool:
    """Whether a client, of either kind, is in a namespace as far as it knows."""
    if isinstance(socket, NodeSocket):
        return not socket.ends(namespace)
    return namespace in socket.client.namespaces


@pytest.mark.asvs("8.2.1", "8.3.1")
@pytest.mark.parametrize("name", ["/desk", "/desk/one"])
async def test_only_a_user_with_the_role_joins_the_namespace(
    tmp_path: Path, modules: tuple[str, ...], name: str
) -> None:
    """Also one that is made for a pattern."""
    async with (
        serve(tmp_path, modules=modules) as site,
        Visitor(site.url) as ann,
        Visitor(site.url) as guest,
    ):
        await ann.sign_up("ann")
        for visitor, reason in ((guest, "unauthorized"), (ann, "forbidden")):
            with pytest.raises(SocketRefused, match=f"^{reason}$"):
                await visitor.socket(name)
        await give(site, ann, "moderator")
        desk = await ann.socket(name)
        assert await desk.call("who") == "moderator"
        assert len(site.services.role_sockets._by_user) == 1
        await desk.close()
        await until(lambda: not site.services.role_sockets._by_user)
        assert not await site.services.presence.users("/desk") or name == "/desk"


async def test_a_refused_client_stays_in_its_other_namespaces(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    async with serve(tmp_path, modules=modules) as site, NodeVisitor(site.url) as ann:
        await ann.sign_up("ann")
        socket = await ann.socket("websocket", namespaces=("/chat", "/desk"))
        assert socket.errors("/desk") == ["forbidden"]
        assert await socket.call("may", namespace="/chat") is False


@pytest.mark.asvs("8.3.2")
@each_client
@pytest.mark.parametrize("mode", ["websocket", "polling"])
async def test_sockets_leave_a_namespace_when_their_user_loses_its_role(
    tmp_path: Path, modules: tuple[str, ...], client: str, mode: str
) -> None:
    """They stay in the other ones, and other users and other roles are left alone."""
    async with (
        serve(tmp_path, modules=modules) as site,
        browser(client, site.url) as ann,
        browser(client, site.url) as bob,
    ):
        await ann.sign_up("ann")
        await bob.sign_up("bob")
        await give(site, ann, "moderator", "admin")
        await give(site, bob, "moderator")
        spaces = ("/", "/desk", "/desk/two")
        anns = await ann.socket(mode, namespaces=spaces)
        bobs = await bob.socket(mode, namespaces=spaces)
        await take(site, ann, "admin")
        assert await anns.call("who", namespace="/desk") == "moderator"
        await take(site, ann, "moderator")
        await until(lambda: not is_in(anns, "/desk") and not is_in(anns, "/desk/two"))
        assert await anns.call("incr") == 1
        assert await bobs.call("who", namespace="/desk") == "moderator"
        assert is_in(anns, "/")


async def test_an_event_under_way_finishes_and_the_next_is_refused(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        await give(site, ann, "moderator", "admin")
        chat = await ann.socket("/chat", transport="websocket")
        assert await chat.call("ban", "eve") == "eve is banned"
        await take(site, ann, "moderator")
        assert await chat.call("ban", "eve") == {"error": SENTENCE}
        assert site.services.counters.event_errors["forbidden"] == 1
        await give(site, ann, "moderator")
        assert await chat.call("ban", "eve") == "eve is banned"


async def test_a_role_lost_during_an_event_closes_the_socket_but_not_the_event(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """What it does is done; its client has left meanwhile."""
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        await give(site, ann, "moderator")
        desk = await ann.socket("/desk", "/", transport="websocket")
        gate.open.clear()
        await desk.emit("slow")
        await until(lambda: gate.waiting == 1)
        await take(site, ann, "moderator")
        assert await desk.ended() == "server disconnect"
        gate.open.set()
        await until(lambda: gate.waiting == 0)
        assert await desk.call("incr", namespace="/") == 1


@pytest.mark.parametrize("lost", ["while its roles are read", "in on_connect"])
async def test_a_role_lost_during_a_connect_ends_it(
    tmp_path: Path, modules: tuple[str, ...], lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the change comes, no socket without the role stays."""
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        await give(site, ann, "moderator")
        roles = site.services.roles
        exact = roles.of
        reading = Gate()
        held = gate if lost == "in on_connect" else reading
        held.open.clear()

        async def slow(account_id: str) -> Any:
            found = await exact(account_id)
            await reading.pass_through()
            return found

        monkeypatch.setattr(roles, "of", slow)
        # python-socketio's client would ignore a DISCONNECT that comes right after the CONNECT
        websocket = await WebSocket.connect(urlsplit(site.url).port or 0, Cookie=ann.cookie)
        await websocket.receive()  # OPEN
        await websocket.send("40")
        assert (await websocket.receive()).startswith("40{")
        await websocket.send("40/desk,")
        await until(lambda: held.waiting == 1)
        await take(site, ann, "moderator")
        held.open.set()
        assert (await websocket.receive()).startswith("40/desk,{")
        assert await websocket.receive() == "41/desk,"
        await until(lambda: not site.services.role_sockets._by_user)
        await websocket.send('420["incr"]')
        assert await websocket.receive() == "430[1]"
        await websocket.leave()


async def test_single_events_need_a_role(tmp_path: Path, modules: tuple[str, ...]) -> None:
    """By the decorator, with a name or without; the catch-all too; and `has_role` tells."""
    async with (
        serve(tmp_path, modules=modules) as site,
        Visitor(site.url) as ann,
        Visitor(site.url) as guest,
    ):
        await ann.sign_up("ann")
        chat = await ann.socket("/chat")
        visitors = await guest.socket("/chat")
        for name, *args in (("ban", "eve"), ("un ban",), ("un-ban",)):
            assert await chat.call(name, *args) == {"error": SENTENCE}
            assert await visitors.call(name, *args) == {"error": "sign in first"}
        assert (await chat.call("other"))["error"].startswith("Only users with the role admin")
        assert await chat.call("unban") == await chat.call("other")  # no event by its own name
        assert await visitors.call("may") is await chat.call("may") is False
        await give(site, ann, "moderator")
        assert await chat.call("ban", "eve") == "eve is banned"
        assert await chat.call("un ban") == await chat.call("un-ban") == "free"
        assert await chat.call("may") is True
        assert (await chat.call("other"))["error"].startswith("Only users with the role admin")
        await give(site, ann, "admin")
        assert await chat.call("other") == "other"


async def test_an_event_needs_the_role_of_its_namespace_and_its_own(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        await give(site, ann, "moderator")
        desk = await ann.socket("/desk")
        answer = await desk.call("close all")
        assert answer == {"error": "Only users with the role admin or owner may do that."}
        await give(site, ann, "owner")
        assert await desk.call("close all") == "closed"


async def test_a_method_that_overrides_another_needs_its_role(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """Unless it names another one. The role is checked before the arguments are."""
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        strict = await ann.socket("/strict")
        assert await strict.call("ban", 7) == {"error": SENTENCE}
        await give(site, ann, "moderator")
        assert await strict.call("ban", "eve") == "eve is out"
        assert (await strict.call("ban", 7))["error"].startswith("expected str")
        assert (await strict.call("un-ban"))["error"].startswith("Only users with the role admin")


async def test_a_change_that_nobody_told_is_noticed(
    tmp_path: Path, modules: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when Redis is away, or an operator changes the table: all sockets are checked."""
    monkeypatch.setattr(role_sockets, "_CHECK_INTERVAL", 0.05)
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        await give(site, ann, "moderator")
        desk = await ann.socket("/desk", "/")
        site.services.accounts.on_changed.clear()
        await take(site, ann, "moderator")
        assert await desk.ended() == "server disconnect"


async def test_while_the_database_is_away_sockets_stay_and_events_are_refused(
    tmp_path: Path, modules: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody joins; when it is back all goes on."""
    sentence = "The database of accounts does not answer; try again in a moment."

    async def no_answer(*_: object) -> Any:
        raise AccountsUnavailable(sentence)

    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        await give(site, ann, "moderator")
        desk = await ann.socket("/desk")
        ann_id = await user_id(site, ann)
        monkeypatch.setattr(site.services.accounts.calls, "run", no_answer)
        await site.services.on_account_changed.tell(ann_id)
        assert await desk.call("who") == {"error": sentence}
        with pytest.raises(SocketRefused, match="The database of accounts does not answer"):
            await ann.socket("/desk")
        monkeypatch.undo()
        assert await desk.call("who") == "moderator"


def test_what_makes_no_sense_is_refused_at_the_start() -> None:
    def none(self: Any, sid: str) -> None: ...

    def made(**attributes: Any) -> Any:
        return lambda: event_table(type("Wrong", (base_namespace.BaseNamespace,), attributes))

    wrong = {
        "'The Boss' is no name of a role": made(role_required="The Boss"),
        "Wrong.role_required is the role that": made(role_required=none),
        "@event\\(\\) needs the name of an event, or what its user needs": lambda: event(),
        "'X' is no name of a role": lambda: event("move", role_required="X"),
        "say role_required in one @event only": lambda: event(role_required="a")(
            event(role_required="b")(lambda self, sid: None)
        ),
        "Wrong.on_connect has role_required but handles no event": made(
            on_connect=event(role_required="a")(lambda self, sid: None)
        ),
        "Wrong.move has role_required but handles no event": made(
            move=event(role_required="a")(lambda self, sid: None)
        ),
    }
    for sentence, make in wrong.items():
        with pytest.raises(ValueError, match=sentence):
            make()
