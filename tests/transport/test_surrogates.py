"""Half an emoji, what cutting a string by its length leaves, is delivered as U+FFFD."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import socketio
from hypothesis import given
from hypothesis import strategies as st

from app.common.lone_surrogates import repair_json, repair_text
from app.stores.memory import MemoryStore
from app.transport.socketio import packet_json
from tests.support.browsers import PythonVisitor
from tests.support.redis_server import empty_redis
from tests.support.sessions import Data, Profile, made, stored
from tests.support.site import serve
from tests.support.sites import sites, tabs_at
from tests.support.socket_server import Echo, Server, served
from tests.support.visitor import Visitor
from tests.support.waiting import until

HALF = "\ud83d"
WHOLE = "\U0001f600"
_TEXTS = st.text(st.sampled_from('a\\u"\ud83d\udc00\ude00\ufffd\n'), max_size=12)


class Halves(Echo):
    """Sends and returns halves of its own."""

    async def on_half(self, sid: str, *args: Any) -> Any:
        await self.emit("half", {HALF + "k": ["a" + HALF, HALF + b"\xff".hex()]}, to=sid)
        return "end" + HALF


def repaired(text: str) -> str:
    """Replace lone surrogates, one character after the other."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@given(_TEXTS)
def test_only_lone_surrogates_are_replaced(text: str) -> None:
    """Pairs stay, as do backslashes before them and what only looks like an escape."""
    assert repair_text(text) == repaired(text)
    data = json.loads(repair_json(json.dumps([text, {text: 1}])))
    assert data == [repaired(text), {repaired(text): 1}]
    assert packet_json.decode(json.dumps(text)) == repaired(text)


@given(_TEXTS)
def test_outgoing_text_is_always_utf8(text: str) -> None:
    """In plain values and in nested ones, in keys too."""
    for value in ([text], [{text: [text]}], {text: text}):
        encoded, _ = packet_json.encode(value)
        assert json.loads(encoded.decode()) == json.loads(repair_json(json.dumps(value)))


def test_broken_json_stays_broken() -> None:
    """A second look at the text lets nothing else pass."""
    for text in (r'["\ud83d", NaN]', r'["\ud83d]', r'["\ud83"]', r'["\ud83d\x"]', r'["\\ud83d""]'):
        with pytest.raises(ValueError, match="invalid JSON"):
            packet_json.decode(text)


EVENTS = [
    (r'421["ack","hi \ud83d"]', '431["hi \ufffd"]'),
    (r'421["ack",{"\ud83dx":"\ude00"}]', '431[{"\ufffdx":"\ufffd"}]'),
    (r'421["ack","\\ud83d\ud83d\ude00"]', '431["\\\\ud83d\U0001f600"]'),
    (
        r'421["ack","' + "x" * 200 + r'\uD83D\uD83D\uDE00"]',
        '431["' + "x" * 200 + '\ufffd\U0001f600"]',
    ),
]


@pytest.mark.parametrize(("sent", "answer"), EVENTS)
@served()
async def test_half_a_character_is_delivered(server: Server, sent: str, answer: str) -> None:
    """In the strings and the keys of an event, by WebSocket and by polling."""
    websocket = await server.client()
    await websocket.send(sent)
    assert await websocket.receive() == answer
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    await server.post(sid, sent)
    assert (await server.poll(sid)).body.decode() == answer


@served()
async def test_half_a_character_in_auth_and_in_an_ack_is_delivered(server: Server) -> None:
    """As what `on_connect` and a callback are given."""
    websocket = await server.websocket()
    await websocket.receive()
    await websocket.send(r'40{"token":"\ud83d"}')
    assert (await websocket.receive()).startswith("40")
    assert await websocket.receive() == '42["auth",{"token":"\ufffd"}]'
    answers: list[Any] = []
    (peer,) = server.sio.peers.values()
    await server.sio.emit("question", to=peer.clients["/"], callback=answers.append)
    question = await websocket.receive()
    await websocket.send(f'43{question[2:-12]}["\\ud83d"]')
    await until(lambda: answers)
    assert answers == ["\ufffd"]


@served(namespaces=(Halves,))
async def test_half_a_character_of_a_handler_is_sent(server: Server) -> None:
    """In what it emits and in what it returns."""
    websocket = await server.client()
    await websocket.send('421["half"]')
    assert await websocket.receive() == '42["half",{"\ufffdk":["a\ufffd","\ufffdff"]}]'
    assert await websocket.receive() == '431["end\ufffd"]'


async def test_session_data_keeps_half_a_character_as_a_replacement() -> None:
    """In its strings, keys and nested records."""
    sessions, session = await made(MemoryStore())
    async with session as data:
        data.items.append({HALF: [HALF, WHOLE, b"\xff"]})
        data.tags.add(HALF)
        data.profile.name = "a" + HALF
    assert await stored(sessions, session.id) == Data(
        tags={"\ufffd"}, items=[{"\ufffd": ["\ufffd", WHOLE, b"\xff"]}], profile=Profile("a\ufffd")
    )


@pytest.mark.parametrize("half", [HALF, "\ufffd"])
async def test_a_page_refuses_half_a_character_in_a_password(tmp_path: Path, half: str) -> None:
    """A password that was repaired would fit many others; the page says that it cannot be had."""
    async with serve(tmp_path) as site, Visitor(site.url) as visitor:
        new = {"username": "ann", "password": "correct horse " + half}
        status, _ = await visitor.post("/register", json=new)
        assert status == 422
        status, _ = await visitor.post("/login", json={"username": half, "password": half})
        assert status == 401


async def test_half_a_character_reaches_other_processes(tmp_path: Path) -> None:
    """From this program, and from others that publish on the channel."""
    url = empty_redis()
    async with sites(tmp_path, url=url) as (one, two), PythonVisitor(one.url) as visitor:
        tabs = await tabs_at(visitor, one, two)
        await one.services.socket_server.emit("news", {"a": HALF})
        await until(lambda: all(tab.received for tab in tabs))
        script = socketio.AsyncRedisManager(url, write_only=True)
        await script.emit("news", HALF)
        await until(lambda: all(len(tab.received) == 2 for tab in tabs))
        received = [("news", ({"a": "\ufffd"},)), ("news", ("\ufffd",))]
        assert [tab.received for tab in tabs] == [received] * 2
        await script.redis.aclose()
