"""Proofs at one process, with sockets at another one, over one Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.sessions.replacements import Replacement
from app.sessions.room_name import session_room
from app.stores import public_id
from tests.support.browsers import PythonVisitor, browser, each_client, each_mode, ended, session_id
from tests.support.raw import POLLING, Raw
from tests.support.site import Site
from tests.support.sites import sites, tabs_at
from tests.support.step_up import prove, step_up_modules
from tests.support.waiting import until

EVENTS, PROOFS = 40, 3


def deafen(monkeypatch: pytest.MonkeyPatch, one: Site, two: Site) -> list[bytes]:
    """Let `two` hear of no proof at `one`, nor of the end of an old id; return what it misses."""
    notes: list[bytes] = []
    handlers = two.app.cluster.client._subscriptions._handlers
    monkeypatch.setitem(handlers, b"latchkey:replaced", notes.append)
    monkeypatch.setattr(one.app.cluster._ends, "publish", lambda *_: None)
    return notes


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Those of the fork."""
    return step_up_modules(monkeypatch)


async def prove_at(visitor: Any, site: Site) -> None:
    """Prove at this process who the user is."""
    visitor.url = site.url
    assert await prove(visitor) == 204


async def stream(tab: Any, answers: list[int]) -> None:
    """Raise the counter, two events at a time."""

    async def one() -> None:
        for _ in range(EVENTS // 2):
            answers.append(await tab.call("incr"))

    await asyncio.gather(one(), one())


@pytest.mark.limit(60)
@each_client
@each_mode
async def test_streams_of_events_at_two_processes_go_on_while_the_id_changes(
    tmp_path: Path, modules: tuple[str, ...], client: str, mode: str
) -> None:
    """Each is acknowledged exactly once, none is lost, and no socket connects again."""
    async with (
        sites(tmp_path, modules=modules) as (one, two),
        browser(client, one.url) as ann,
    ):
        await ann.sign_up("ann")
        here, there = await tabs_at(ann, one, two, mode=mode)
        answers: list[int] = []

        async def proofs() -> None:
            for _ in range(PROOFS):
                wanted = min(len(answers) + EVENTS // 3, 2 * EVENTS)
                while len(answers) < wanted:
                    await asyncio.sleep(0.001)
                await prove_at(ann, one)

        await asyncio.gather(stream(here, answers), stream(there, answers), proofs())
        assert sorted(answers) == list(range(1, 2 * EVENTS + 1))
        assert await here.call("count") == await there.call("count") == 2 * EVENTS
        assert (await here.call("whoami"), await there.call("whoami")) == ("ann", "ann")
        last = ("current count", (2 * EVENTS + 1,))
        assert await ann.incr() == 2 * EVENTS + 1
        await until(lambda: last in here.events("/") and last in there.events("/"))
        assert (ended(here), ended(there), here.connects, there.connects) == ([], [], 1, 1)
        for site in (one, two):
            assert site.services.connections.count(session_id(ann.cookie)) == 1


@pytest.mark.asvs("7.2.4")
async def test_ends_reach_the_sockets_that_went_on(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """A sign-out right after the proof closes them in both processes."""
    async with sites(tmp_path, modules=modules) as (one, two), PythonVisitor(one.url) as ann:
        await ann.sign_up("ann")
        tabs = await tabs_at(ann, one, two)
        await prove_at(ann, one)
        await ann.sign_out()
        await until(lambda: all(ended(tab) for tab in tabs))
        assert [end["reason"] for tab in tabs for end in ended(tab)] == ["logout", "logout"]
        await until(lambda: not len(one.services.connections) + len(two.services.connections))


async def test_a_process_that_missed_the_message_finds_the_new_id(
    tmp_path: Path, modules: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the next event, by the note in Redis; the other sockets of the session follow too."""
    async with sites(tmp_path, modules=modules) as (one, two), PythonVisitor(one.url) as ann:
        await ann.sign_up("ann")
        here, there, beside = await tabs_at(ann, one, two, two)
        notes = deafen(monkeypatch, one, two)
        await prove_at(ann, one)
        assert await there.call("incr") == 1
        assert len(notes) == 1
        assert (await here.call("whoami"), await beside.call("count")) == ("ann", 1)
        assert [ended(tab) for tab in (here, there, beside)] == [[], [], []]
        assert two.services.connections.count(session_id(ann.cookie)) == 2


async def test_idle_sockets_of_a_process_that_missed_the_message_follow_in_the_next_check(
    tmp_path: Path, modules: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is half a minute later, or when Redis is back; later than a minute they are closed."""
    async with sites(tmp_path, modules=modules) as (one, two), PythonVisitor(one.url) as ann:
        await ann.sign_up("ann")
        (there,) = await tabs_at(ann, two)
        deafen(monkeypatch, one, two)
        await prove_at(ann, one)
        await two.services.expiry.reconcile()
        assert two.services.connections.count(session_id(ann.cookie)) == 1
        await prove_at(ann, one)
        old = two.services.connections.session_ids()
        await one.app.cluster.client.execute("DEL", *(f"latchkey:replaced:{id}" for id in old))
        await two.services.expiry.reconcile()
        await until(lambda: ended(there))


async def test_a_session_that_ended_before_the_message_came_keeps_no_socket(
    tmp_path: Path, modules: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message of the new id comes after that of its end: the next round closes the socket."""
    async with sites(tmp_path, modules=modules) as (one, two), PythonVisitor(one.url) as ann:
        await ann.sign_up("ann")
        (there,) = await tabs_at(ann, two)
        notes = deafen(monkeypatch, one, two)
        await prove_at(ann, one)
        await until(lambda: notes)
        await one.services.sessions.end(session_id(ann.cookie))
        two.services.sessions.replacements.receive(notes[0])
        assert two.services.connections.count(session_id(ann.cookie)) == 1
        await until(lambda: ended(there))
        await until(lambda: not len(two.services.connections))


async def test_an_end_at_another_process_right_after_the_proof_reaches_all(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """Another device ends the new session by its public id."""
    async with (
        sites(tmp_path, modules=modules) as (one, two),
        PythonVisitor(one.url) as ann,
    ):
        await ann.sign_up("ann")
        tabs = await tabs_at(ann, one, two)
        await prove_at(ann, one)
        id = public_id(session_id(ann.cookie))
        user_id = (await one.services.sessions.load(session_id(ann.cookie))).user_id
        assert await two.services.devices.revoke(user_id, id)
        await until(lambda: all(ended(tab) for tab in tabs))
        await until(lambda: not len(one.services.connections) + len(two.services.connections))


async def test_a_poll_with_the_new_cookie_may_come_before_the_message(
    tmp_path: Path, modules: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection finds by the note that it has the session of this cookie."""
    async with sites(tmp_path, modules=modules) as (one, two), PythonVisitor(one.url) as ann:
        await ann.sign_up("ann")
        async with Raw(two.url) as raw:
            opened = await raw.ask(POLLING, Cookie=ann.cookie)
            sid = opened.body.partition('"sid":"')[2].partition('"')[0]
            deafen(monkeypatch, one, two)
            await prove_at(ann, one)
            path = f"{POLLING}&sid={sid}"
            posted = await raw.ask(path, Cookie=ann.cookie, method="POST", body=b"40")
            assert posted.status == 200
            assert two.services.connections.count(session_id(ann.cookie)) == 1


async def test_an_emit_to_the_old_id_by_a_process_that_has_not_heard_arrives(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """Once."""
    async with sites(tmp_path, modules=modules) as (one, two), PythonVisitor(one.url) as ann:
        await ann.sign_up("ann")
        here, there = await tabs_at(ann, one, two)
        old = session_id(ann.cookie)
        await prove_at(ann, one)
        await two.services.socket_server.emit("told", 1, to=session_room(old))
        await two.services.emit_to_session(session_id(ann.cookie), "told", 2)
        told = [("told", (1,)), ("told", (2,))]
        await until(lambda: here.events("/") == told and there.events("/") == told)


async def test_presence_follows(tmp_path: Path, modules: tuple[str, ...]) -> None:
    """The list of devices shows the connections of both processes under the new id."""
    async with sites(tmp_path, modules=modules) as (one, two), PythonVisitor(one.url) as ann:
        await ann.sign_up("ann")
        await tabs_at(ann, one, two)
        await prove_at(ann, one)
        new = session_id(ann.cookie)

        async with asyncio.timeout(10):
            while await one.services.devices.presence.transports([new]) != {
                new: ["websocket", "websocket"]
            }:
                await asyncio.sleep(0.02)


@pytest.mark.asvs("7.2.4")
async def test_the_note_leads_no_cookie_to_the_new_id(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """The old cookie is a stranger's in both processes, while the note is in Redis."""
    async with sites(tmp_path, modules=modules) as (one, two), PythonVisitor(one.url) as ann:
        await ann.sign_up("ann")
        (there,) = await tabs_at(ann, two)
        old = ann.cookie
        await prove_at(ann, one)
        note = await two.services.sessions.store.replaced_by(session_id(old))
        assert b'"new_id"' in note
        for site in (one, two):
            async with PythonVisitor(site.url, Cookie=old) as thief:
                assert (await thief.get("/session")).json()["user"] is None
                socket = await thief.socket("websocket")
                assert await socket.call("whoami") is None
        assert await there.call("whoami") == "ann"


def test_a_note_is_read_by_the_next_release() -> None:
    """Fields that this release does not know are left out."""
    assert Replacement("a", "b", "c").encode() == b'{"old_id":"a","new_id":"b","network":"c"}'
