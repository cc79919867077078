"""Handlers of events are tasks."""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from typing import Any

from tests.support.slow_echo import Slow
from tests.support.socket_server import Echo, Server, served

seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="nothing")


left_by: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


released: list[str] = []


def look(name: str) -> list[Any]:
    """Return the traces found on the current task, then leave a name there in every way."""
    task: Any = asyncio.current_task()
    found = [left_by.get(task), getattr(task, "user", None), task.get_name().startswith("user")]
    left_by[task] = task.user = name
    task.set_name(f"user {name}")
    task.add_done_callback(lambda _: released.append(name))
    return found


class Curious(Echo):
    """Looks for traces on its task before the first wait, and after it."""

    async def on_task(self, sid: str) -> Any:
        before = asyncio.current_task()
        await asyncio.sleep(0)
        return [before is not None, before is asyncio.current_task(), before in asyncio.all_tasks()]

    async def on_context(self, sid: str, wait: bool) -> Any:
        was = seen.get()
        seen.set(sid)
        if wait:
            await asyncio.sleep(0)
        return [was, seen.get() == sid]

    async def on_timeout(self, sid: str) -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(5)
        except TimeoutError:
            return "timed out"
        return "slept"

    async def on_cancel(self, sid: str) -> str:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            task.uncancel()
            return "cancelled"
        return "slept"

    async def on_cancelled_itself(self, sid: str) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "went on"

    async def on_give_up(self, sid: str) -> None:
        async def give_up() -> None:
            raise asyncio.CancelledError

        await self.emit("question", to=sid, callback=give_up)
        await give_up()

    async def on_look(self, sid: str, name: str) -> Any:
        return look(name)

    async def on_gather(self, sid: str) -> Any:
        async def child(n: int) -> int:
            await asyncio.sleep(0.001 * n)
            return n

        return [await asyncio.gather(child(2), child(1))]


@served(namespaces=(Curious,))
async def test_a_handler_is_an_ordinary_task_from_its_first_line(server: Server) -> None:
    """It begins at once, and has one task and one context before and after a wait."""
    websocket = await server.client()
    for event, answer in (
        ('["task"]', "[[true,true,true]]"),
        ('["context",false]', '[["nothing",true]]'),
        ('["context",true]', '[["nothing",true]]'),
        ('["timeout"]', '["timed out"]'),
        ('["cancel"]', '["cancelled"]'),
        ('["gather"]', "[[[2,1]]]"),
    ):
        await websocket.send("421" + event)
        assert await websocket.receive() == "431" + answer
    assert seen.get() == "nothing"


@served(namespaces=(Curious,))
async def test_a_handler_of_a_post_has_its_own_task(server: Server) -> None:
    """The task that handles the POST is current again afterwards."""
    sid = await server.handshake()
    await server.post(sid, '40\x1e421["task"]\x1e422["timeout"]\x1e423["cancel"]')
    acks: set[bytes] = set()
    while len(acks) < 3:
        packets = (await server.poll(sid)).body.split(b"\x1e")
        acks |= {packet for packet in packets if packet.startswith(b"43")}
    assert acks == {b"431[[true,true,true]]", b'432["timed out"]', b'433["cancelled"]'}


@served(namespaces=(Curious,))
async def test_events_of_one_turn_of_the_loop_are_isolated(server: Server) -> None:
    """The next event sees neither context variables nor a cancellation of an earlier one."""
    websocket = await server.client()
    events = ['"cancelled_itself"', '"gather"', '"context",false', '"context",false', '"task"']
    await websocket.send(*[f"42{n}[{event}]" for n, event in enumerate(events)])
    acks = {await websocket.receive() for _ in events}
    fresh = '[["nothing",true]]'
    assert acks == {
        '430["went on"]',
        "431[[[2,1]]]",
        "432" + fresh,
        "433" + fresh,
        "434[[true,true,true]]",
    }


@served(namespaces=(Curious,))
async def test_two_users_never_share_a_task(server: Server) -> None:
    """Data kept for the task of one event is absent in the next, and is released."""
    released.clear()
    ann, bob = await server.client(), await server.client()
    for client, name in ((ann, "ann"), (bob, "bob"), (ann, "ann")):
        await client.send(f'421["look","{name}"]')
        assert await client.receive() == "431[[null,null,false]]"
    await bob.send('422["task"]')
    await bob.receive()
    assert released == ["ann", "bob", "ann"]


@served(namespaces=(Curious,))
async def test_a_cancelled_handler_closes_no_connection(server: Server) -> None:
    """An event or the callback of an ack is cancelled before its first wait."""
    websocket = await server.client()
    await websocket.send('421["give_up"]')
    assert await websocket.receive() == '421["question"]'
    assert await websocket.receive() == "431[]"
    await websocket.send("431[]", '422["task"]')
    assert await websocket.receive() == "432[[true,true,true]]"
    assert not server.closed


@served(namespaces=(Slow,))
async def test_events_of_one_client_start_in_order_and_may_overtake(server: Server) -> None:
    """As with python-socketio's `async_handlers`."""
    Slow.order.clear()
    websocket = await server.client()
    await websocket.send(*[f'42{n}["slow",{n}]' for n in range(4)])
    assert [await websocket.receive() for _ in range(4)] == [f"43{n}[{n}]" for n in (3, 2, 1, 0)]
    assert Slow.order == [0, 1, 2, 3]
