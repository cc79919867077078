"""Emits to all sockets of a user, and of a session, from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.services import Services
from tests.support.browsers import PythonVisitor, browser, each_client, joined, session_id
from tests.support.demo.session import BaseHandler, BaseNamespace
from tests.support.fork import fork
from tests.support.site import Site, serve
from tests.support.sites import sites
from tests.support.users import user_id
from tests.support.waiting import until


class Inbox(BaseNamespace):
    """A namespace that says nothing by itself."""

    async def on_sync(self, sid: str) -> None: ...


class NotifyHandler(BaseHandler):
    """A page that emits to the user of its session."""

    async def post(self) -> None:
        assert self.session.user_id is not None
        await self.services.emit_to_user(self.session.user_id, "note", "page", "/inbox")


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    return fork(monkeypatch, namespaces=[("/inbox", Inbox)], routes=[("/notify", NotifyHandler)])


async def notes(socket: Any) -> list[Any]:
    """Return the arguments of the notes so far; events before the ack have arrived with it."""
    await socket.call("sync", namespace="/inbox")
    return [args for name, args in socket.events("/inbox") if name == "note"]


@each_client
async def test_an_emit_reaches_all_sockets_of_a_user_and_no_other(
    tmp_path: Path, client: str, modules: tuple[str, ...]
) -> None:
    """All browsers of the user, in that namespace only; from a page and from the program."""
    namespaces = ("/", "/inbox")
    async with (
        serve(tmp_path, modules=modules) as site,
        browser(client, site.url) as phone,
        PythonVisitor(site.url) as laptop,
        PythonVisitor(site.url) as eve,
        PythonVisitor(site.url) as guest,
    ):
        await phone.sign_up("ada")
        await laptop.sign_in("ada")
        await eve.sign_up("eve")
        ada = await user_id(site, phone)
        sockets = [
            await joined(visitor, "websocket", namespaces=namespaces)
            for visitor in (phone, phone, laptop, eve, guest)
        ]
        assert (await phone.post("/notify"))[0] == 200
        await site.services.emit_to_user(ada, "note", ("two", {"n": 1}), namespace="/inbox")
        got = [("page",), ("two", {"n": 1})]
        assert [await notes(socket) for socket in sockets] == [got, got, got, [], []]
        assert not any(name == "note" for name, _ in sockets[0].events("/"))


async def test_who_signs_in_later_is_reached_and_who_signed_out_is_not(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """An emit reaches the sockets of this moment, and only those that belong to the user."""
    async with serve(tmp_path, modules=modules) as site, PythonVisitor(site.url) as visitor:

        async def emit(text: str) -> None:
            await site.services.emit_to_user(ada, "note", text, namespace="/inbox")

        await visitor.sign_up("ada")
        ada = await user_id(site, visitor)
        await visitor.post("/logout")
        await visitor.get("/")
        socket = await visitor.socket("websocket", namespaces=("/inbox",), reconnection=True)
        await emit("before")
        await visitor.sign_in("ada")  # its socket comes back with the new session
        await until(lambda: socket.connects == 2)
        await emit("signed in")
        assert await socket.event("note") == "signed in"
        await visitor.post("/logout")
        await until(lambda: socket.connects == 3)
        await emit("after")
        assert await notes(socket) == [("signed in",)]


async def test_emits_to_a_user_and_a_session_reach_all_processes(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """Also from a process at which the user has no socket, with bytes."""
    async with (
        sites(tmp_path, 3, modules=modules) as places,
        PythonVisitor(places[0].url) as ada,
        PythonVisitor(places[0].url) as other,
    ):
        await ada.sign_up("ada")
        await other.sign_up("eve")
        id = await user_id(places[0], ada)

        async def at(site: Site, visitor: PythonVisitor) -> Any:
            visitor.url = site.url
            return await visitor.socket("websocket", namespaces=("/inbox",))

        mine = [await at(places[0], ada), await at(places[1], ada)]
        hers = await at(places[1], other)
        await places[2].services.emit_to_user(id, "note", b"\x00", namespace="/inbox")
        await places[2].services.emit_to_session(
            session_id(ada.cookie), "note", "session", namespace="/inbox"
        )
        for socket in mine:
            assert await socket.event("note", namespace="/inbox") == b"\x00"
            assert await socket.event("note", namespace="/inbox") == "session"
        assert await notes(hers) == []


async def test_a_job_that_starts_with_the_server_emits_to_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To everybody who is present, as a dashboard does."""

    def on_start(services: Services) -> None:
        async def work() -> None:
            for id in await services.presence.users("/inbox"):
                await services.emit_to_user(id, "note", id, namespace="/inbox")

        services.every(0.02, work)

    modules = fork(monkeypatch, namespaces=[("/inbox", Inbox)], on_start=on_start)
    async with (
        sites(tmp_path, 2, modules=modules) as (one, two),
        PythonVisitor(one.url) as visitor,
    ):
        await visitor.sign_up("ada")
        visitor.url = two.url
        socket = await visitor.socket("websocket", namespaces=("/inbox",))
        ada = await user_id(one, visitor)
        assert [await socket.event("note") for _ in range(4)] == [ada] * 4


@pytest.mark.parametrize("id", ["", None])
async def test_an_emit_to_nobody_is_refused(
    tmp_path: Path, modules: tuple[str, ...], id: Any
) -> None:
    """A visitor has no user id; such a call is a mistake in the program."""
    async with serve(tmp_path, modules=modules) as site:
        with pytest.raises(ValueError, match="user_id"):
            await site.services.emit_to_user(id, "note")
        with pytest.raises(ValueError, match="session_id"):
            await site.services.emit_to_session(id, "note")
