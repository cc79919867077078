"""Signing out devices from the account page, by form, by script and by event."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.stores.memory import MemoryStore
from tests.support.accounts import account_id
from tests.support.browsers import ended, joined, session_id
from tests.support.devices import (
    FIREFOX,
    id_of,
    ids,
    lists,
    revoke,
    text,
    watching,
)
from tests.support.forms import ask, each_kind, send, who
from tests.support.raw import Raw
from tests.support.site import Site, serve
from tests.support.stores import STORES, every_store
from tests.support.suspending_store import SuspendingStore
from tests.support.visitor import Visitor
from tests.support.waiting import until


@pytest.mark.asvs("7.5.2")
@each_kind
async def test_a_device_is_signed_out_from_another(tmp_path: Path, kind: str) -> None:
    """Its session is over, its sockets are told `revoked`, and the row is gone."""
    async with serve(tmp_path) as site, Visitor(site.url) as here, Visitor(site.url) as there:
        await here.sign_up("ann")
        await there.sign_in("ann")
        socket = await joined(there, "websocket")
        answer = await revoke(here, kind, id_of(there))
        assert answer.status == (303 if kind == "form" else 204)
        if kind == "form":
            assert answer.headers["Location"] == "/account?done=device"
        await until(lambda: ended(socket) == [{"reason": "revoked", "reconnect": True}])
        assert await who(there) is None
        page = (await ask(here, "/account?done=device")).text
        assert ids(page) == [id_of(here)]
        assert "That device is signed out." in text(page)


@each_kind
async def test_signing_out_this_device_is_signing_out(ann: Visitor, kind: str) -> None:
    """Its own row ends the session that asks, and a form goes on to sign in again."""
    await ann.sign_up("ann")
    answer = await revoke(ann, kind, id_of(ann))
    assert answer.status == (303 if kind == "form" else 204)
    assert answer.headers.get("Location") == ("/login?next=%2Faccount" if kind == "form" else None)
    assert (ann.cookie, await who(ann)) == ("", None)


@each_kind
async def test_signing_out_everywhere_else_leaves_this_one(
    site: Site, ann: Visitor, kind: str
) -> None:
    """All others of this user are over; another user's are not touched."""
    async with Visitor(site.url) as two, Visitor(site.url) as three, Visitor(site.url) as eve:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        await three.sign_in("ann")
        await eve.sign_up("eve")
        answer = await send(ann, kind, "/account/sessions/revoke-others")
        assert answer.status == (303 if kind == "form" else 204)
        assert [await who(visitor) for visitor in (ann, two, three, eve)] == [
            "ann", None, None, "eve",
        ]  # fmt: skip


@pytest.mark.asvs("7.5.2", "8.2.2")
@each_kind
async def test_a_user_cannot_end_another_users_session(site: Site, ann: Visitor, kind: str) -> None:
    """Its public id, its session id and an unknown id get the same 404, byte for byte."""
    async with Visitor(site.url) as eve:
        await ann.sign_up("ann")
        await eve.sign_up("eve")
        socket = await watching(eve)
        answers = []
        for id in (id_of(ann), session_id(ann.cookie), "0" * 32, "x" * 3000):
            answer = await revoke(eve, kind, id)
            answers.append((answer.status, answer.text))
            assert await socket.call("revoke", id, namespace="/account") == {
                "error": "unknown session"
            }
        assert set(answers) == {answers[0]}
        assert answers[0][0] == 404
        assert await who(ann) == "ann"
        assert id_of(ann) not in (await ask(eve, "/account")).text
        assert id_of(ann) not in str(lists(socket))
        await socket.close()


@pytest.mark.parametrize("junk", [None, 1, True, [], {"id": 1}, ["x"], "", "x" * 100_000], ids=str)
async def test_revoke_refuses_any_invalid_id(
    ann: Visitor, junk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no public id is an unknown session; nothing fails."""
    await ann.sign_up("ann")
    socket = await watching(ann)
    answer = await socket.client.call("revoke", (junk,), namespace="/account", timeout=5)
    assert answer == {"error": "unknown session"}
    assert "Traceback" not in caplog.text
    await socket.close()


@every_store
async def test_ends_reach_the_store_of_any_kind(kind: str, tmp_path: Path) -> None:
    """One device, then all others: by the index of users that every store has."""
    store = STORES[kind](tmp_path)
    async with (
        serve(tmp_path, store=store) as site,
        Visitor(site.url, **{"User-Agent": FIREFOX}) as ann,
        Visitor(site.url) as two,
        Visitor(site.url) as three,
    ):
        await ann.sign_up("ann")
        await two.sign_in("ann")
        await three.sign_in("ann")
        page = (await ask(ann, "/account")).text
        assert sorted(ids(page)) == sorted(id_of(visitor) for visitor in (ann, two, three))
        assert (await revoke(ann, "json", id_of(two))).status == 204
        assert (await revoke(ann, "json", id_of(two))).status == 404
        assert [await who(visitor) for visitor in (ann, two, three)] == ["ann", None, "ann"]
        assert (await send(ann, "json", "/account/sessions/revoke-others")).status == 204
        assert [await who(visitor) for visitor in (ann, three)] == ["ann", None]


async def test_sign_ins_during_sign_out_everywhere_else_are_ended(tmp_path: Path) -> None:
    """Sessions that come while all others are ended are ended as well."""
    store = SuspendingStore(MemoryStore())
    async with serve(tmp_path, store=store) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        sessions, user_id = site.services.sessions, await account_id(site, "ann")

        async def sign_in_often() -> None:
            for _ in range(5):
                await sessions.create(remote_address="::1", user_agent="late", user_id=user_id)

        await sign_in_often()
        own = session_id(ann.cookie)
        ended, _ = await asyncio.gather(
            site.services.devices.revoke_others(user_id, own), sign_in_often()
        )
        assert ended > 5
        assert [record.id for record in await store.of_user(user_id)] == [own]


async def test_an_event_of_a_disconnected_client_logs_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that asks and goes without waiting puts no traceback into the log."""
    store = SuspendingStore(MemoryStore())
    async with serve(tmp_path, store=store) as site, Visitor(site.url) as ann, Raw(site.url) as raw:
        await ann.sign_up("ann")
        assert (await raw.websocket(("Cookie", ann.cookie))).status == 101

        async def heard(beginning: str) -> None:
            while not (await raw.receive() or beginning).startswith(beginning):
                pass

        raw.send("40/account,")
        await heard("40/account,")
        raw.send('42/account,["revoke","x"]')
        raw.send("41/account,")
        raw.send("40")
        await heard("40")
        raw.send('421["count"]')
        await heard("431")
        assert "failed" not in caplog.text
