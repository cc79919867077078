"""Sockets go on under the new id that a proof gives to their session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from app.sessions.room_name import session_room
from app.stores import Lease, Record, SessionStore, public_id
from app.stores.memory import MemoryStore
from app.testing import MovableClock
from tests.support.browsers import browser, each_client, each_mode, ended, joined, session_id
from tests.support.devices import NEW, lists, shown, watching
from tests.support.forms import PASSWORD, send, who
from tests.support.raw import POLLING, Raw
from tests.support.site import Site, serve
from tests.support.step_up import LATE, prove, step_up_modules
from tests.support.suspending_store import SuspendingLease, SuspendingStore
from tests.support.visitor import Visitor
from tests.support.waiting import until

EVENTS, PROOFS = 60, 3


async def stream(socket: Any, answers: list[int]) -> None:
    """Raise the counter again and again, several events at a time."""

    async def one() -> None:
        for _ in range(EVENTS // 3):
            answers.append(await socket.call("incr"))

    await asyncio.gather(one(), one(), one())


async def proofs(visitor: Visitor, answers: list[int]) -> None:
    """Prove several times in the midst of the events."""
    for _ in range(PROOFS):
        wanted = min(len(answers) + EVENTS // (PROOFS + 2), EVENTS)
        while len(answers) < wanted:
            await asyncio.sleep(0.001)
        assert await prove(visitor) == 204


@pytest.fixture(params=["memory", "suspending", "sqlite"])
def store(request: pytest.FixtureRequest) -> SessionStore | str:
    """What the sessions are in."""
    if request.param == "sqlite":
        return "sqlite"
    return MemoryStore() if request.param == "memory" else SuspendingStore(MemoryStore())


@each_client
@each_mode
async def test_a_stream_of_events_goes_on_while_the_id_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: str, mode: str, store: Any
) -> None:
    """Each is acknowledged exactly once, none is lost, and no socket connects again."""
    modules = step_up_modules(monkeypatch)
    async with (
        serve(tmp_path, modules=modules, store=store) as site,
        browser(client, site.url) as ann,
    ):
        await ann.sign_up("ann")
        tab, other = await joined(ann, mode), await joined(ann, mode)
        before = ann.cookie
        answers: list[int] = []
        await asyncio.gather(stream(tab, answers), proofs(ann, answers))
        assert session_id(ann.cookie) != session_id(before)
        assert sorted(answers) == list(range(1, EVENTS + 1))
        assert await other.call("incr") == await tab.call("count") == EVENTS + 1
        assert (await other.call("whoami"), await ann.incr()) == ("ann", EVENTS + 2)
        last = ("current count", (EVENTS + 2,))
        await until(lambda: last in tab.events("/") and last in other.events("/"))
        assert (ended(tab), ended(other), tab.connects, other.connects) == ([], [], 1, 1)
        # what the other tab was told: each count once
        told = [args[0] for name, args in other.events("/") if name == "current count"]
        assert sorted(told) == [*range(1, EVENTS + 1), EVENTS + 2]


@each_mode
async def test_the_event_runs_on_the_same_socket_after_the_proof(
    site: Site, ann: Visitor, clock: MovableClock, mode: str
) -> None:
    """That is what the script of a page does in place."""
    await ann.sign_up("ann")
    socket = await joined(ann, mode, namespaces=("/vault",))
    clock.now += LATE
    assert await socket.call("open", namespace="/vault") == {"error": "reauthenticate"}
    assert await prove(ann) == 204
    assert await socket.call("open", namespace="/vault") == "opened"
    assert await socket.call("take all", 5, namespace="/vault") == 5


async def test_a_plain_websocket_goes_on(ann: Visitor) -> None:
    """It edits the session under its new id."""
    await ann.sign_up("ann")
    async with ann.http.ws_connect(ann.url + "/plain") as websocket:
        for count in ("1", "2"):
            await websocket.send_str("incr")
            assert await websocket.receive_str() == count
            assert await prove(ann) == 204
        assert await ann.incr() == 3
        await ann.sign_out()
        assert (await websocket.receive()).data == 4401


async def test_emits_to_either_id_reach_the_sockets(site: Site, ann: Visitor) -> None:
    """Another process may emit to the room of the old id for a moment; nobody gets it twice."""
    await ann.sign_up("ann")
    socket = await joined(ann, "websocket")
    old = session_id(ann.cookie)
    await prove(ann)
    new = session_id(ann.cookie)
    for number, rooms in enumerate([session_room(old), session_room(new), [old, new]]):
        if isinstance(rooms, list):
            rooms = [session_room(id) for id in rooms]
        await site.services.socket_server.emit("told", number, to=rooms)
    assert await socket.call("whoami") == "ann"
    assert [args for name, args in socket.events("/") if name == "told"] == [(0,), (1,), (2,)]


async def test_the_room_of_the_old_id_is_left_later(
    site: Site, ann: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left of the old id then."""
    monkeypatch.setattr("app.sockets.connections._FORMER_ROOM_TIMEOUT", 0.05)
    await ann.sign_up("ann")
    await joined(ann, "websocket")
    old = session_room(session_id(ann.cookie))
    await prove(ann)
    rooms = site.services.socket_server.manager.rooms["/"]
    await until(lambda: old not in rooms)
    assert session_room(session_id(ann.cookie)) in rooms


def slow(site: Site) -> Any:
    """Return the namespace that waits."""
    return site.services.socket_server.namespace_handlers["/slow"]


@pytest.mark.parametrize("event", ["edit", "late"])
async def test_an_edit_under_way_is_kept(site: Site, ann: Visitor, event: str) -> None:
    """One that has the lock comes before the new id, one that has not yet begun after it."""
    await ann.sign_up("ann")
    socket = await joined(ann, "websocket", namespaces=("/slow",))
    editing = asyncio.ensure_future(socket.call(event, namespace="/slow"))
    await until(lambda: slow(site).waiting)
    proving = asyncio.ensure_future(prove(ann))
    if event == "late":
        assert await proving == 204
    slow(site).go_on.set()
    assert await editing == 1
    assert await proving == 204
    assert await ann.incr() == 2
    assert ended(socket, "/slow") == []


async def test_events_that_wait_for_the_lock_find_the_new_id(site: Site, ann: Visitor) -> None:
    """They queue behind the proof, which queues behind an edit."""
    await ann.sign_up("ann")
    socket = await joined(ann, "websocket", namespaces=("/", "/slow"))
    first = asyncio.ensure_future(socket.call("edit", namespace="/slow"))
    await until(lambda: slow(site).waiting)
    locks = site.services.sessions.store._store._locks
    proving = asyncio.ensure_future(prove(ann))
    await until(lambda: any(locks._queues.values()))
    later = [asyncio.ensure_future(socket.call("incr")) for _ in range(5)]
    await until(lambda: sum(len(queue or ()) for queue in locks._queues.values()) == 6)
    slow(site).go_on.set()
    assert await proving == 204
    assert [await first, *sorted(await asyncio.gather(*later))] == [1, 2, 3, 4, 5, 6]
    assert ended(socket) == []


class Held(SuspendingStore):
    """A store that answers late that a record was replaced."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.replaced, self.go_on = asyncio.Event(), asyncio.Event()

    async def lock(self, session_id: str) -> SuspendingLease:
        return HeldLease(self, (await super().lock(session_id)).inner)


class HeldLease(SuspendingLease):
    """A lease of it."""

    def __init__(self, store: Held, inner: Lease) -> None:
        super().__init__(inner)
        self.store = store

    async def replace(self, record: Record, note: bytes = b"") -> None:
        await super().replace(record, note)
        self.store.replaced.set()
        await self.store.go_on.wait()


async def test_events_wait_for_a_replacement_that_the_store_has_not_answered_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They find no record under the old id, and do not take that for the end of the session."""
    store = Held()
    async with (
        serve(tmp_path, modules=step_up_modules(monkeypatch), store=store) as site,
        Visitor(site.url) as ann,
    ):
        await ann.sign_up("ann")
        socket = await joined(ann, "websocket")
        proving = asyncio.ensure_future(prove(ann))
        await store.replaced.wait()
        asking = [asyncio.ensure_future(socket.call(event)) for event in ("whoami", "incr")]
        checking = asyncio.ensure_future(site.services.expiry.reconcile())
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in (*asking, checking))
        store.go_on.set()
        assert await asyncio.gather(*asking) == ["ann", 1]
        await checking
        assert (await proving, ended(socket)) == (204, [])


async def test_a_client_that_joins_meanwhile_stays(site: Site, ann: Visitor) -> None:
    """Its connect handler runs when the id changes."""
    await ann.sign_up("ann")
    joining = asyncio.ensure_future(ann.socket("/slow", transport="websocket", auth={"wait": True}))
    await until(lambda: slow(site).waiting)
    await prove(ann)
    slow(site).go_on.set()
    socket = await joining
    assert await socket.call("whoami", namespace="/slow") == "ann"
    await site.services.emit_to_session(session_id(ann.cookie), "told", 1, "/slow")
    await until(lambda: ("told", (1,)) in socket.events("/slow"))


async def test_a_task_of_a_client_that_has_left_edits_the_session(site: Site, ann: Visitor) -> None:
    """It finds the session under its new id."""
    await ann.sign_up("ann")
    socket = await joined(ann, "websocket", namespaces=("/slow",))
    await socket.call("leave", namespace="/slow")
    await until(lambda: slow(site).waiting)
    await socket.close()
    await until(lambda: not len(site.services.connections))
    await prove(ann)
    slow(site).go_on.set()
    sessions = site.services.sessions

    async def counted() -> bool:
        return bool((await sessions.load(session_id(ann.cookie))).data.count)

    async with asyncio.timeout(10):
        while not await counted():
            await asyncio.sleep(0.01)


async def test_a_handshake_under_way_ends_up_in_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has found the session by the old cookie before the proof."""
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def before_handshake(handler: Any) -> None:
        waiting.set()
        await go_on.wait()

    modules = step_up_modules(monkeypatch, before_handshake=before_handshake)
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        connecting = asyncio.ensure_future(joined(ann, "websocket"))
        await waiting.wait()
        await prove(ann)
        go_on.set()
        socket = await connecting
        assert await socket.call("whoami") == "ann"
        assert site.services.connections.count(session_id(ann.cookie)) == 1
        assert not site.services.connections._reserved


async def test_the_list_of_devices_goes_on(ann: Visitor) -> None:
    """The socket of the account page gets the list with the new id, marked as its own."""
    await ann.sign_up("ann")
    watch = await watching(ann)
    await shown(watch, lambda rows: rows[0]["connections"])
    await prove(ann)
    rows = await shown(watch, lambda rows: rows[0]["id"] == public(ann) and rows[0]["connections"])
    assert [row["current"] for row in rows] == [True]
    async with Visitor(ann.url) as two:
        await two.sign_in("ann")
        await shown(watch, lambda rows: len(rows) == 2)
    assert ended(watch, "/account") == []
    assert lists(watch)


def public(visitor: Visitor) -> str:
    """Return the public id of a visitor's session."""
    return public_id(session_id(visitor.cookie))


@each_mode
async def test_a_change_of_the_password_keeps_the_sockets_of_this_device(
    site: Site, ann: Visitor, mode: str
) -> None:
    """Those of the other devices are closed."""
    async with Visitor(site.url) as two:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        here, there = await joined(ann, mode), await joined(two, mode)
        answer = await send(ann, "json", "/account/password", password=PASSWORD, new_password=NEW)
        assert answer.status == 204
        await until(lambda: ended(there))
        assert await here.call("whoami") == "ann"
        assert ended(here) == []


@each_mode
async def test_ends_close_the_sockets_that_went_on(site: Site, ann: Visitor, mode: str) -> None:
    """By a sign-out right after the proof; none stays in a dead session."""
    await ann.sign_up("ann")
    socket = await joined(ann, mode)
    await prove(ann)
    await ann.sign_out()
    await until(lambda: [end["reason"] for end in ended(socket)] == ["logout"])
    await until(lambda: not len(site.services.connections))


async def test_a_new_session_that_has_ended_at_once_keeps_no_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if another process had ended it before this one heard of it."""
    store = MemoryStore()
    async with (
        serve(tmp_path, modules=step_up_modules(monkeypatch), store=store) as site,
        Visitor(site.url) as ann,
    ):
        await ann.sign_up("ann")
        socket = await joined(ann, "websocket")
        replacements = site.services.sessions.replacements
        replacements.on_replaced.insert(0, lambda new: store._remove(new.new_id))
        await prove(ann)
        await until(lambda: ended(socket))
        await until(lambda: not len(site.services.connections))
        assert await who(ann) is None


async def test_two_tabs_may_prove_it_at_once(site: Site, ann: Visitor) -> None:
    """Both get the cookie of one new id, whichever answer comes first."""
    await ann.sign_up("ann")
    socket = await joined(ann, "websocket")
    for _ in range(5):
        assert await asyncio.gather(*(prove(ann) for _ in range(3))) == [204] * 3
        assert await who(ann) == "ann"
        assert await socket.call("whoami") == "ann"
    assert ended(socket) == []
    assert len(site.services.sessions.store._store._records) == 1


@pytest.mark.parametrize("seconds", [10.0, 0.0])
async def test_a_poll_may_show_the_old_cookie_for_a_moment(
    site: Site, ann: Visitor, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """For its own connection only, and ten seconds at most."""
    monkeypatch.setattr("app.sockets.socket_context._FORMER_ID_TIMEOUT", seconds)
    await ann.sign_up("ann")
    old = ann.cookie

    async def post(sid: str, cookie: str, body: bytes) -> int:
        async with Raw(site.url) as raw:  # a refusal closes the connection
            path = f"{POLLING}&sid={sid}"
            return (await raw.ask(path, Cookie=cookie, method="POST", body=body)).status

    async def opened() -> str:
        async with Raw(site.url) as raw:
            answer = await raw.ask(POLLING, Cookie=old)
            return answer.body.partition('"sid":"')[2].partition('"')[0]

    async def strangers() -> str:
        async with Raw(site.url) as raw:
            answer = await raw.ask(POLLING)
            return answer.body.partition('"sid":"')[2].partition('"')[0]

    sids = [await opened(), await strangers()]
    await prove(ann)
    assert await post(sids[0], old, b"40") == (200 if seconds else 400)
    assert await post(sids[0], ann.cookie, b"3") == 200
    assert await post(sids[1], old, b"40") == 400


# -- attackers --


@contextlib.asynccontextmanager
async def proxied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Site, Visitor, Visitor]]:
    """Serve ann, and a thief of her cookie at another address."""
    modules, proxies = step_up_modules(monkeypatch), (ip_network("127.0.0.1/32"),)
    async with (
        serve(tmp_path, modules=modules, trusted_proxies=proxies) as site,
        Visitor(site.url, **{"X-Forwarded-For": "192.0.2.1"}) as ann,
    ):
        await ann.sign_up("ann")
        theft = {"X-Forwarded-For": "198.51.100.9", "Cookie": ann.cookie}
        async with Visitor(site.url, **theft) as thief:
            yield site, ann, thief


@pytest.mark.asvs("7.2.4")
@each_mode
async def test_the_socket_of_a_thief_elsewhere_does_not_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """It is closed, and comes back as a stranger; the user's own stays."""
    async with proxied(tmp_path, monkeypatch) as (_site, ann, thief):
        stolen, own = await joined(thief, mode), await joined(ann, mode)
        assert await stolen.call("whoami") == "ann"
        await prove(ann)
        await until(lambda: [end["reason"] for end in ended(stolen)] == ["regenerated"])
        assert (await own.call("whoami"), ended(own)) == ("ann", [])


@pytest.mark.asvs("7.2.4")
async def test_an_event_of_a_thief_elsewhere_does_not_reach_the_new_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that was under way when the id changed."""
    async with proxied(tmp_path, monkeypatch) as (site, ann, thief):
        stolen = await joined(thief, "websocket", namespaces=("/slow",))
        calling = asyncio.ensure_future(stolen.call("late", namespace="/slow"))
        await until(lambda: slow(site).waiting)
        await prove(ann)
        slow(site).go_on.set()
        with contextlib.suppress(Exception):
            assert await calling == {"error": "the session has ended"}
        calling.cancel()
        assert await ann.incr() == 1


@pytest.mark.asvs("7.2.4")
@each_mode
async def test_the_old_cookie_opens_no_socket_of_the_session(
    site: Site, ann: Visitor, mode: str
) -> None:
    """It is dead for handshakes at once."""
    await ann.sign_up("ann")
    own = await joined(ann, "websocket")
    async with Visitor(site.url, Cookie=ann.cookie) as thief:
        await prove(ann)
        socket = await joined(thief, mode)
        assert await socket.call("whoami") is None
        assert await own.call("whoami") == "ann"
