"""Namespaces that run their events in order, and their effect on others."""

from __future__ import annotations

import asyncio
import contextvars
from pathlib import Path
from typing import Any

import pytest

from app.transport.engineio.connection import MAX_EVENTS_IN_HAND
from tests.support.demo.session import BaseNamespace
from tests.support.fork import fork
from tests.support.raw_websocket import WebSocket
from tests.support.site import serve
from tests.support.socket_server import Echo, Server, served
from tests.support.visitor import Visitor
from tests.support.waiting import until

mark: contextvars.ContextVar[int] = contextvars.ContextVar("mark", default=0)


class Steps(Echo):
    """Records when its handlers begin and end; `gate` lets them end."""

    ordered = True
    gate = asyncio.Event()
    told: list[Any] = []

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        type(self).told.append("connect")
        await super().on_connect(sid, environ, auth)

    async def on_slow(self, sid: str, number: int) -> int:
        assert mark.get() == 0, "each event has a context of its own"
        mark.set(number)
        self.told.append(("begins", number, asyncio.current_task()))
        await self.gate.wait()
        self.told.append(("ends", number, asyncio.current_task()))
        return number

    def on_fast(self, sid: str, number: int) -> int:
        self.told.append(number)
        return number

    async def on_ask(self, sid: str) -> Any:
        return await self.call("question", to=sid, timeout=5)

    async def on_leave(self, sid: str) -> None:
        await self.disconnect(sid)
        await asyncio.sleep(0)
        self.told.append("left")

    async def on_disconnect(self, sid: str, reason: str) -> None:
        self.told.append(reason)

    @classmethod
    def begin(cls) -> None:
        cls.told, cls.gate = [], asyncio.Event()


async def joined(server: Server) -> WebSocket:
    """A client in "/", which is ordered, and in "/other", which is not."""
    Steps.begin()
    websocket = await server.client()
    await websocket.send("40/other,")
    assert (await websocket.receive()).startswith("40/other,")
    assert (await websocket.receive()).startswith("42/other,")
    Steps.told.clear()
    return websocket


@served(namespaces=(Steps,))
async def test_events_of_an_ordered_namespace_run_one_after_the_other(server: Server) -> None:
    """Each event has its own task and context; the acks leave in the same order."""
    websocket = await joined(server)
    events = [f'42{n}["{"fast" if n % 3 == 0 else "slow"}",{n}]' for n in range(9)]
    await websocket.send(*events)
    await until(lambda: len(Steps.told) == 2)
    assert await websocket.receive() == "430[0]"
    assert await websocket.quiet()
    Steps.gate.set()
    assert [await websocket.receive() for _ in range(8)] == [f"43{n}[{n}]" for n in range(1, 9)]
    begun = [it for it in Steps.told if type(it) is tuple]
    assert [(it[0], it[1]) for it in begun] == [
        (what, n) for n in (1, 2, 4, 5, 7, 8) for what in ("begins", "ends")
    ]
    assert len({id(it[2]) for it in begun}) == 6


@served(namespaces=(Steps,))
async def test_an_ordered_namespace_delays_no_other_client_or_namespace(server: Server) -> None:
    """Each client has its own queue in this namespace."""
    websocket = await joined(server)
    await websocket.send('421["slow",1]', '422["fast",2]', '42/other,3["ack"]')
    assert await websocket.receive() == "43/other,3[]"
    other = await server.client()
    await other.send('421["fast",3]')
    assert await other.receive() == "431[3]"
    Steps.gate.set()
    assert await websocket.receive() == "431[1]"
    assert await websocket.receive() == "432[2]"


@pytest.mark.parametrize("end", ["disconnect", "abrupt", "kick"])
@served(namespaces=(Steps,))
async def test_the_disconnect_handler_runs_after_the_events_before_it(
    server: Server, end: str
) -> None:
    """This holds for each way of leaving."""
    websocket = await joined(server)
    sid = server.sio.peers[websocket.sid].clients["/"]
    await websocket.send('42["slow",1]', '42["fast",2]')
    await until(lambda: Steps.told)
    if end == "disconnect":
        await websocket.send("41")
    elif end == "abrupt":
        websocket.writer.transport.abort()
    else:
        await server.sio.disconnect(sid)
    reason = {"disconnect": "client", "abrupt": "transport", "kick": "server"}[end]
    await until(lambda: not server.sio.manager.is_connected(sid, "/"))
    assert len(Steps.told) == 1
    Steps.gate.set()
    await until(lambda: len(Steps.told) == 4)
    assert [it[0] if type(it) is tuple else it for it in Steps.told[:3]] == ["begins", "ends", 2]
    assert Steps.told[3].startswith(reason)
    await until(lambda: sid not in server.sio.manager.clients)


@served(namespaces=(Steps,))
async def test_an_event_may_disconnect_its_own_client(server: Server) -> None:
    """`disconnect` waits for no handler, so it does not wait for its caller."""
    websocket = await joined(server)
    await websocket.send('42["leave"]')
    assert await websocket.receive() == "41"
    await until(lambda: Steps.told == ["left", "server disconnect"])
    await websocket.send("40")
    assert (await websocket.receive()).startswith("40{")


@served(namespaces=(Steps,))
async def test_an_event_may_ask_its_own_client(server: Server) -> None:
    """The ack does not wait behind the event that awaits it."""
    websocket = await joined(server)
    await websocket.send('421["ask"]')
    question = await websocket.receive()
    assert question.endswith('["question"]')
    await websocket.send(f'43{question[2 : question.index("[")]}["answer"]')
    assert await websocket.receive() == '431["answer"]'


@served(namespaces=(Steps,))
async def test_the_queue_of_an_ordered_namespace_is_bounded(server: Server) -> None:
    """Reading pauses at the limit of running events per connection."""
    websocket = await joined(server)
    connection = server.sio.engine.connections[websocket.sid]
    await websocket.send(*[f'42{n}["slow",{n}]' for n in range(2 * MAX_EVENTS_IN_HAND)])
    await until(lambda: connection.busy)
    await websocket.send('42/other,1["ack"]')
    assert await websocket.quiet()
    Steps.gate.set()
    answers = [await websocket.receive() for _ in range(2 * MAX_EVENTS_IN_HAND + 1)]
    assert answers[:-1] == [f"43{n}[{n}]" for n in range(2 * MAX_EVENTS_IN_HAND)]


async def test_a_fork_makes_a_namespace_ordered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sets one attribute; events that wait for the session stay in order too."""
    order: list[int] = []

    class Bank(BaseNamespace):
        ordered = True

        async def on_wait(self, sid: str, seconds: float, number: int) -> int:
            async with self.session_for(sid) as data:
                data.count += 1
            await asyncio.sleep(seconds)
            order.append(number)
            return number

    modules = fork(monkeypatch, namespaces=[("/bank", Bank)])
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        socket = await visitor.socket("websocket", namespaces=("/bank",))
        calls = [socket.call("wait", 0.1 - n / 30, n, namespace="/bank") for n in range(3)]
        assert await asyncio.gather(*calls) == [0, 1, 2]
        assert order == [0, 1, 2]
        await socket.close()
