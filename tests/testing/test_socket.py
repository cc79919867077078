"""The sockets of the test kit: events, acks, refusals, ends, and what a failure says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from socketio.exceptions import ConnectionRefusedError as Refused

from app.testing import NotReceived, Site, SocketRefused, Transport, Visitor
from tests.support.demo import MODULES
from tests.support.demo.session import BaseNamespace, SessionData
from tests.support.fork import fork

WORD = {"word": "sesame"}
each_transport = pytest.mark.parametrize("transport", ["polling", "websocket"])


class Hall(BaseNamespace):
    """Sends back what it gets, asks, and refuses clients without the word."""

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any) -> None:
        if auth != WORD:
            raise Refused("not you", auth)
        await self.emit("welcome", to=sid)

    async def on_say(self, sid: str, *words: Any) -> Any:
        for word in words:
            await self.emit("said", word, to=sid)
        return words

    async def on_pair(self, sid: str) -> None:
        await self.emit("pair", (1, b"two"), to=sid)

    async def on_ask(self, sid: str) -> Any:
        return await self.call("question", "how", to=sid)

    async def on_leave(self, sid: str) -> None:
        await self.disconnect(sid)

    async def on_never(self, sid: str) -> None:
        await asyncio.Event().wait()


@pytest.fixture
def latchkey_options(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    modules = (*MODULES, *fork(monkeypatch, namespaces=[("/hall", Hall)])[-1:])
    return {"modules": modules, "data_type": SessionData}


@each_transport
async def test_events_come_in_order(visitor: Visitor, transport: Transport) -> None:
    """Each call returns the next one of a name; others wait for their turn."""
    hall = await visitor.socket("/hall", auth=WORD, transport=transport)
    assert hall.transport == transport
    assert await hall.call("say", "a", "b") == ("a", "b")
    assert await hall.call("pair") is None
    assert await hall.event("pair") == (1, b"two")
    assert [await hall.event("said"), await hall.event("said")] == ["a", "b"]
    assert await hall.event("welcome") is None
    assert [name for name, _ in hall.received] == ["welcome", "said", "said", "pair"]


async def test_one_jar_is_one_session(visitor: Visitor) -> None:
    """Pages, and sockets of both transports."""
    await visitor.post("/incr")
    for count, transport in enumerate(("polling", "websocket"), 2):
        socket = await visitor.socket(transport=transport)  # type: ignore[arg-type]
        assert await socket.call("incr") == count
    assert (await visitor.socket()).transport == "websocket"


async def test_a_socket_of_several_namespaces(visitor: Visitor) -> None:
    """Methods take the first one unless told another."""
    socket = await visitor.socket("/", "/hall", auth=WORD)
    assert await socket.call("incr") == 1
    await socket.emit("say", "hello", namespace="/hall")
    assert await socket.event("said", namespace="/hall") == "hello"
    assert socket.received == []


async def test_a_client_acks(visitor: Visitor) -> None:
    """`answer` is what the server's `call` gets."""
    hall = await visitor.socket("/hall", auth=WORD)
    hall.answer("question", lambda text: f"{text}? so")
    assert await hall.call("ask") == "how? so"


@each_transport
async def test_a_refusal_has_the_message_and_the_data(
    visitor: Visitor, transport: Transport
) -> None:
    """Of `on_connect`, and of `login_required`, which has no data."""
    with pytest.raises(SocketRefused, match="not you") as refused:
        await visitor.socket("/hall", auth={"word": "guess"}, transport=transport)
    assert refused.value.data == {"word": "guess"}
    with pytest.raises(SocketRefused, match=r"^unauthorized$"):
        await visitor.socket("/account", transport=transport)


async def test_a_handshake_of_a_foreign_page_is_refused(latchkey: Site) -> None:
    """The message is that of the client."""
    stranger = latchkey.visitor(origin="https://evil.example")
    with pytest.raises(SocketRefused, match="Forbidden"):
        await stranger.socket(transport="polling")


@each_transport
async def test_the_end_has_its_reason(
    latchkey: Site, visitor: Visitor, transport: Transport
) -> None:
    """Logout, sign-in, the clock, and the server's own disconnect."""
    await visitor.register("ann")
    socket = await visitor.socket(transport=transport)
    await visitor.sign_out()
    assert await socket.ended() == "logout"
    assert socket.may_reconnect is True
    socket = await visitor.socket(transport=transport)
    await visitor.sign_in("ann")
    assert await socket.ended() == "regenerated"
    socket = await visitor.socket(transport=transport)
    await latchkey.advance(90_000)
    assert await socket.ended() == "idle"
    hall = await visitor.socket("/hall", auth=WORD, transport=transport)
    await hall.emit("leave")
    assert await hall.ended() == "server disconnect"


async def test_a_failure_says_what_came_instead(visitor: Visitor) -> None:
    """Of an event and of an ack."""
    hall = await visitor.socket("/hall", auth=WORD)
    came = r"it received welcome\(\), said\('a',\)$"
    await hall.call("say", "a")
    with pytest.raises(NotReceived, match=rf"no event 'siad' within 0\.01 s; {came}"):
        await hall.event("siad", timeout=0.01)
    with pytest.raises(NotReceived, match=rf"no ack of 'never' within 0\.01 s; {came}"):
        await hall.call("never", timeout=0.01)


async def test_a_socket_that_has_ended_is_not_waited_for(visitor: Visitor) -> None:
    """The failure comes at once, and says why it ended."""
    await visitor.register("ann")
    socket = await visitor.socket()
    waiting = asyncio.ensure_future(socket.event("news"))
    await visitor.sign_out()
    with pytest.raises(NotReceived, match=r"no event 'news': the socket ended \(logout\)"):
        await waiting


async def test_a_transport_is_no_namespace(visitor: Visitor) -> None:
    """The error says what to write."""
    with pytest.raises(ValueError, match="write transport='websocket'"):
        await visitor.socket("websocket")
