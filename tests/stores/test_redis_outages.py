"""A Redis that is killed, stopped, paused, full, demoted, loading or replaced: nobody suffers.

Whoever needs it is told within two seconds, nobody loses his session or his connection, and
when it is back everything goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client

from app.stores import StoreUnavailable
from tests.support.browsers import PythonVisitor, each_transport, ended, session_id
from tests.support.clock import Clock
from tests.support.raw import POLLING, Raw
from tests.support.redis_server import RedisServer, Sentinel
from tests.support.site import Site
from tests.support.sites import processes, sites, tabs_at
from tests.support.waiting import until

_PROMPT = 3.0  # seconds; the promise is two, the rest is for a busy machine


@contextlib.asynccontextmanager
async def started(folder: Path, *options: str) -> AsyncIterator[RedisServer]:
    """Run a Redis of this test's own."""
    server = RedisServer(folder / "redis", *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


KEPT = ("--appendonly", "yes", "--appendfsync", "always")


async def refuses(site: Site, visitor: Any, tab: Any) -> None:
    """Check what the doors of a process say while its Redis is away."""
    async with asyncio.timeout(_PROMPT):
        assert "try again" in (await tab.call("incr"))["error"]
    for method, path in (("POST", "/incr"), ("GET", "/"), ("POST", "/logout")):
        async with Raw(site.url) as raw, asyncio.timeout(_PROMPT):
            cookie = ("Cookie", visitor.cookie)
            accept = ("Accept", "application/json")
            answer = await raw.ask(path, cookie, accept, method=method, body=b"")
        assert answer.status == 503
        assert "try again" in json.loads(answer.body)["error"]
        assert answer.cookie == ""
        assert answer.all("Retry-After")
    for known in (("Cookie", visitor.cookie),), ():
        async with Raw(site.url) as raw, asyncio.timeout(_PROMPT):
            answer = await raw.ask(POLLING, *known)
        assert answer.status == 503
        assert answer.cookie == ""
        async with Raw(site.url) as raw, asyncio.timeout(_PROMPT):
            assert (await raw.websocket(*known)).status == 503
    async with asyncio.timeout(_PROMPT):
        status, text = await visitor.get("/readyz")
    assert (status, json.loads(text)["failed"]) == (503, ["store"])
    assert (await visitor.get("/healthz"))[0] == 200


async def ready(visitor: Any) -> None:
    """Wait until the process says that it can serve."""

    async def says_so() -> bool:
        return bool((await visitor.get("/readyz"))[0] == 200)

    await until(says_so, 10)


async def survives(
    tmp_path: Path,
    server: RedisServer,
    away: Callable[[], object],
    back: Callable[[], object],
    *,
    url: str = "",
) -> None:
    """Let a Redis go away and come back under a visitor with sockets at two processes."""
    async with (
        sites(tmp_path, url=url or server.url) as (one, two),
        PythonVisitor(one.url) as visitor,
    ):
        assert await visitor.incr() == 1
        tabs = await tabs_at(visitor, one, two)
        assert await tabs[0].call("incr") == 2
        visitor.url = one.url
        cookie = visitor.cookie
        away()
        await refuses(one, visitor, tabs[0])
        assert visitor.cookie == cookie
        back()
        await ready(visitor)
        visitor.url = two.url
        await ready(visitor)
        assert await tabs[0].call("incr") == 3
        assert await tabs[1].call("incr") == 4
        assert await visitor.incr() == 5
        assert visitor.cookie == cookie
        assert [ended(tab) for tab in tabs] == [[], []]
        assert [tab.connects for tab in tabs] == [1, 1]
        # and what one process says reaches the other again
        await until(lambda: all(("current count", (5,)) in tab.received for tab in tabs))
        assert (await visitor.post("/logout"))[0] == 204
        await until(lambda: all(ended(tab) for tab in tabs))


async def test_killed_and_started_again(tmp_path: Path) -> None:
    """With appendonly no acknowledged change is lost."""
    async with started(tmp_path, *KEPT) as server:
        await survives(tmp_path, server, server.kill, server.start)


async def test_stopped_and_continued(tmp_path: Path) -> None:
    """A suspended Redis keeps its connections open and does not answer."""
    async with started(tmp_path) as server:
        await survives(
            tmp_path,
            server,
            lambda: server.send(signal.SIGSTOP),
            lambda: server.send(signal.SIGCONT),
        )


async def test_paused(tmp_path: Path) -> None:
    """CLIENT PAUSE delays all replies, and cannot be ended early."""
    async with started(tmp_path) as server:
        with server.client() as other:
            await survives(tmp_path, server, lambda: other.client_pause(5000), lambda: None)


def make_busy(server: RedisServer) -> None:
    """Keep it busy with a script that does not end."""
    with contextlib.suppress(redis_client.RedisError), server.client(retry=None) as other:
        other.connection_pool.connection_kwargs["socket_timeout"] = 0.1
        other.eval("while true do end", 0)


async def test_busy(tmp_path: Path) -> None:
    """During another client's endless script, Redis first does not answer, then answers BUSY."""
    async with started(tmp_path, "--lua-time-limit", "200") as server:
        with server.client() as other:
            await survives(tmp_path, server, lambda: make_busy(server), lambda: other.script_kill())


async def test_demoted(tmp_path: Path) -> None:
    """A replica refuses writes until it is a master again."""
    async with started(tmp_path) as server:
        with server.client() as other:
            await survives(
                tmp_path,
                server,
                lambda: other.replicaof("127.0.0.1", "1"),
                lambda: other.replicaof("no", "one"),
            )


async def test_loading(tmp_path: Path) -> None:
    """A Redis that reads its data at its start answers LOADING, and is waited for."""
    slowly = ("--key-load-delay", "100000", "--loading-process-events-interval-bytes", "1024")

    def load_slowly() -> None:
        with server.client() as other:
            for number in range(20):
                other.set(f"ballast:{number}", bytes(3000))
        server.kill()
        server.options = (*KEPT, *slowly)
        server.start()

    async with started(tmp_path, *KEPT) as server:
        await survives(tmp_path, server, load_slowly, lambda: None)


async def test_full(tmp_path: Path) -> None:
    """A Redis without memory refuses changes; reads and a logout go on, and nothing is lost."""
    async with (
        started(tmp_path, "--maxmemory-policy", "noeviction") as server,
        sites(tmp_path, url=server.url) as (one, two),
        PythonVisitor(one.url) as visitor,
        PythonVisitor(one.url) as other,
    ):
        await other.incr()
        assert await visitor.incr() == 1
        tabs = await tabs_at(visitor, one, two)
        visitor.url = one.url
        with server.client() as redis:
            redis.config_set("maxmemory", 1)
            assert "try again" in (await tabs[0].call("incr"))["error"]
            assert (await visitor.post("/incr"))[0] == 503
            assert (await visitor.get("/"))[0] == 200
            assert await tabs[1].call("count") == 1
            status, text = await visitor.get("/readyz")
            assert (status, json.loads(text)["failed"]) == (503, ["store"])
            async with Raw(one.url) as raw:
                assert (await raw.ask(POLLING)).status == 503
            assert (await other.post("/logout"))[0] == 204
            redis.config_set("maxmemory", 0)
        assert await tabs[0].call("incr") == 2
        assert await visitor.incr() == 3
        assert [tab.connects for tab in tabs] == [1, 1]


@contextlib.asynccontextmanager
async def replicated(tmp_path: Path) -> AsyncIterator[tuple[RedisServer, Sentinel]]:
    """Run a master, a replica of it and a Sentinel that watches them."""
    async with started(tmp_path / "a") as master, started(tmp_path / "b") as replica:
        with replica.client() as other:
            other.replicaof("127.0.0.1", str(master.port))
            await until(lambda: other.info("replication")["master_link_status"] == "up", 15)
        sentinel = Sentinel(tmp_path / "sentinel", master.port)
        sentinel.start()
        try:
            with sentinel.client() as asked:
                await until(lambda: asked.sentinel_slaves("main"), 15)
            yield master, sentinel
        finally:
            sentinel.kill()


async def test_a_failover_to_a_replica(tmp_path: Path) -> None:
    """The master is killed, the Sentinels name another, and no acknowledged change is lost."""
    async with replicated(tmp_path) as (master, sentinel):

        def fail() -> None:
            with master.client() as told:
                told.wait(1, 1000)
            master.kill()

        await survives(tmp_path, master, fail, lambda: None, url=sentinel.url)


@pytest.mark.limit(60)
async def test_a_failover_that_leaves_the_old_master_running(tmp_path: Path) -> None:
    """The client leaves the demoted master for the new one, though its connection works."""
    async with (
        replicated(tmp_path) as (master, sentinel),
        sites(tmp_path, url=sentinel.url) as (one, two),
        PythonVisitor(one.url) as visitor,
    ):
        assert await visitor.incr() == 1
        tabs = await tabs_at(visitor, one, two)
        with sentinel.client() as asked, master.client() as old:
            old.wait(1, 1000)
            accepted = False
            for _ in range(500):
                # it may not have seen yet that the replica is a good one
                with contextlib.suppress(redis_client.ResponseError):
                    accepted = accepted or asked.execute_command("SENTINEL", "FAILOVER", "main")
                if old.info("replication")["role"] == "slave":
                    break
                await asyncio.sleep(0.05)
            for tab in tabs:
                await tab.call("incr")
            for site in (one, two):
                visitor.url = site.url
                await ready(visitor)
        assert await tabs[0].call("incr") < await tabs[1].call("incr")
        assert [tab.connects for tab in tabs] == [1, 1]
        apps: list[Any] = [one.app, two.app]
        ports = {
            app.cluster.client._connection._transport.get_extra_info("peername")[1] for app in apps
        }
        assert master.port not in ports


async def test_waiting_edits_fail_and_release_their_lock(tmp_path: Path) -> None:
    """Edits in hand get an error; the first one afterwards need not wait."""
    async with (
        started(tmp_path) as server,
        sites(tmp_path, url=server.url) as (one, two),
        PythonVisitor(one.url) as visitor,
    ):
        await visitor.incr()
        tabs = await tabs_at(visitor, one, two)
        counting = [asyncio.ensure_future(tab.call("incr")) for tab in tabs for _ in range(20)]
        await asyncio.sleep(0.005)
        server.send(signal.SIGSTOP)
        async with asyncio.timeout(_PROMPT):
            acks = await asyncio.gather(*counting)
        refused = [ack for ack in acks if isinstance(ack, dict)]
        server.send(signal.SIGCONT)
        visitor.url = two.url
        await ready(visitor)
        async with asyncio.timeout(_PROMPT):
            count = await visitor.incr()
        stored = [ack for ack in acks if isinstance(ack, int)]
        assert len(stored) == len(set(stored))
        # a change that nobody could acknowledge may have been stored
        assert max(stored, default=1) < count <= 2 + len(stored) + len(refused)


async def test_calls_fail_at_once_during_an_outage(tmp_path: Path) -> None:
    """Only the first calls wait for the connection."""
    async with (
        started(tmp_path) as server,
        sites(tmp_path, 1, url=server.url) as (site,),
        PythonVisitor(site.url) as visitor,
    ):
        await visitor.incr()
        server.send(signal.SIGSTOP)
        assert (await visitor.post("/incr"))[0] == 503
        assert site.app.cluster is not None
        client: Any = site.app.cluster.client
        await until(lambda: not client._pending._accepting)
        async with asyncio.timeout(_PROMPT):
            for _ in range(100):
                assert (await visitor.post("/incr"))[0] == 503
        server.send(signal.SIGCONT)
        await ready(visitor)
        assert await visitor.incr() > 1


async def test_emits_reach_the_same_process_during_an_outage(tmp_path: Path) -> None:
    """They neither wait nor fail; sockets of other processes miss them."""
    async with (
        started(tmp_path, *KEPT) as server,
        sites(tmp_path, url=server.url) as (one, two),
        PythonVisitor(one.url) as visitor,
    ):
        await visitor.incr()
        here, there = await tabs_at(visitor, one, two)
        server.kill()
        await until(lambda: not one.app.cluster.client.connected)
        async with asyncio.timeout(_PROMPT):
            for number in range(100):
                await one.services.socket_server.emit("news", number)
        await until(lambda: len(here.received) == 100)
        assert there.received == []
        server.start()
        await ready(visitor)
        visitor.url = one.url
        await ready(visitor)
        await one.services.socket_server.emit("news", "again")
        await until(lambda: there.received == [("news", ("again",))])


async def test_ends_during_an_outage_are_found_afterwards(tmp_path: Path) -> None:
    """A removed record closes its sockets as soon as Redis is back."""
    async with (
        started(tmp_path, *KEPT) as server,
        sites(tmp_path, url=server.url, expiry_interval=3600) as (one, two),
        PythonVisitor(one.url) as visitor,
        PythonVisitor(one.url) as other,
    ):
        tabs = await tabs_at(visitor, one, two)
        others = await tabs_at(other, one, two)
        server.kill()
        for site in (one, two):
            await until(lambda site=site: not site.app.cluster.client.connected)
        server.start()
        with server.client() as redis:
            # before anybody is back, or while he already is: either way it is noticed
            redis.delete("latchkey:{" + session_id(visitor.cookie) + "}")
            redis.client_kill_filter(_type="pubsub")
        await until(lambda: all(ended(tab) for tab in tabs), 10)
        assert [ended(tab) for tab in others] == [[], []]


async def test_activity_during_an_outage_keeps_sessions(tmp_path: Path) -> None:
    """A process writes its clients' activity before another one ends anything."""
    clock = Clock()
    async with (
        started(tmp_path, *KEPT) as server,
        sites(tmp_path, url=server.url, clock=clock, expiry_interval=0.05) as (one, two),
        PythonVisitor(one.url) as visitor,
    ):
        here, there = await tabs_at(visitor, one, two)
        sessions = one.services.sessions
        session = await sessions.session_for(session_id(visitor.cookie))
        clock.now += 80_000
        server.kill()
        for site in (one, two):
            await until(lambda site=site: not site.app.cluster.client.connected)
        # the client was active at one, which could not write it down
        sessions.touch(session)
        with pytest.raises(StoreUnavailable):
            await sessions.lifetimes.activity.flush(force=True)
        touch = sessions.store.touch

        async def late(seen: Any) -> None:
            await asyncio.sleep(1)
            await touch(seen)

        sessions.store.touch = late
        clock.now += 10_000
        server.start()
        visitor.url = two.url
        await ready(visitor)
        await asyncio.sleep(4)
        assert ended(here) == ended(there) == []
        assert await there.call("incr") == 1


@each_transport
async def test_a_visitor_without_session_sees_open_pages(tmp_path: Path, transport: str) -> None:
    """Pages that need no session are served; a handshake gets 503 with Retry-After."""
    async with (
        started(tmp_path) as server,
        sites(tmp_path, 1, url=server.url) as (site,),
        PythonVisitor(site.url) as visitor,
    ):
        server.kill()
        assert (await visitor.get("/"))[0] == 200
        assert visitor.cookie == ""
        async with Raw(site.url) as raw:
            answer = await (raw.ask(POLLING) if transport == "polling" else raw.websocket())
        assert answer.status == 503
        assert answer.all("Retry-After")


async def test_a_process_stops_in_time_during_an_outage(tmp_path: Path) -> None:
    """It does not wait for a Redis that does not answer."""
    async with started(tmp_path) as server:
        async with (
            sites(tmp_path, 1, url=server.url) as (site,),
            PythonVisitor(site.url) as visitor,
        ):
            await visitor.incr()
            server.send(signal.SIGSTOP)
            async with asyncio.timeout(6):
                await site.app.stop()
        server.send(signal.SIGCONT)


async def test_a_replica_is_left_for_the_master(tmp_path: Path) -> None:
    """The connection is closed, so that Sentinels are asked again."""
    async with started(tmp_path) as server, processes(1, server.url) as (store,):
        await store.ping()
        with server.client() as other:
            other.replicaof("127.0.0.1", "1")
            with pytest.raises(StoreUnavailable, match="READONLY"):
                await store.ping()
            await until(lambda: not store._client.connected)
            await until(lambda: "name its master" in store._client._failure)
