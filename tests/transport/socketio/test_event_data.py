"""Data of events and acks: lone surrogates are replaced; data that cannot be sent is an error."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import socketio
from hypothesis import given
from hypothesis import strategies as st
from socketio.exceptions import ConnectionRefusedError

from app.common.lone_surrogates import repair_json, repair_text
from app.stores.memory import MemoryStore
from app.transport.socketio import packet_json
from tests.support.browsers import PythonVisitor
from tests.support.redis_server import empty_redis
from tests.support.sessions import Data, Profile, made, stored
from tests.support.sites import sites, tabs_at
from tests.support.socket_server import Echo, Server, served
from tests.support.visitor import Visitor
from tests.support.waiting import until

HALF = "\ud83d"
WHOLE = "\U0001f600"
_TEXTS = st.text(st.sampled_from('a\\u"\ud83d\udc00\ude00\ufffd\n'), max_size=12)


class Halves(Echo):
    """Emits and returns lone surrogates."""

    async def on_half(self, sid: str, *args: Any) -> Any:
        await self.emit("half", {HALF + "k": ["a" + HALF, HALF + b"\xff".hex()]}, to=sid)
        return "end" + HALF


def repaired(text: str) -> str:
    """Replace lone surrogates, one character after the other."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@given(_TEXTS)
def test_only_lone_surrogates_are_replaced(text: str) -> None:
    """Surrogate pairs, escaped backslashes and text that resembles an escape stay."""
    assert repair_text(text) == repaired(text)
    data = json.loads(repair_json(json.dumps([text, {text: 1}])))
    assert data == [repaired(text), {repaired(text): 1}]
    assert packet_json.decode(json.dumps(text)) == repaired(text)


@given(_TEXTS)
def test_outgoing_text_is_always_utf8(text: str) -> None:
    """This holds for plain values, nested values and keys."""
    for value in ([text], [{text: [text]}], {text: text}):
        encoded, _ = packet_json.encode(value)
        assert json.loads(encoded.decode()) == json.loads(repair_json(json.dumps(value)))


def test_repairing_surrogates_accepts_no_invalid_json() -> None:
    """The second attempt refuses the same invalid JSON as the first."""
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
@pytest.mark.attack("A41")
async def test_a_lone_surrogate_in_an_event_is_delivered_as_u_fffd(
    server: Server, sent: str, answer: str
) -> None:
    """It may be in a string or a key, by WebSocket or by polling."""
    websocket = await server.client()
    await websocket.send(sent)
    assert await websocket.receive() == answer
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    await server.post(sid, sent)
    assert (await server.poll(sid)).body.decode() == answer


@served()
async def test_a_lone_surrogate_in_auth_or_an_ack_is_delivered_as_u_fffd(server: Server) -> None:
    """`on_connect` and the callback get the replaced text."""
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
async def test_a_lone_surrogate_of_a_handler_is_sent_as_u_fffd(server: Server) -> None:
    """The handler emits one and returns one."""
    websocket = await server.client()
    await websocket.send('421["half"]')
    assert await websocket.receive() == '42["half",{"\ufffdk":["a\ufffd","\ufffdff"]}]'
    assert await websocket.receive() == '431["end\ufffd"]'


async def test_lone_surrogates_in_session_data_are_stored_as_u_fffd() -> None:
    """They may be in strings, keys and nested records."""
    sessions, session = await made(MemoryStore())
    async with session as data:
        data.items.append({HALF: [HALF, WHOLE, b"\xff"]})
        data.tags.add(HALF)
        data.profile.name = "a" + HALF
    assert await stored(sessions, session.id) == Data(
        tags={"\ufffd"}, items=[{"\ufffd": ["\ufffd", WHOLE, b"\xff"]}], profile=Profile("a\ufffd")
    )


@pytest.mark.parametrize("half", [HALF, "\ufffd"])
@pytest.mark.attack("A41")
async def test_a_password_with_a_lone_surrogate_is_refused(visitor: Visitor, half: str) -> None:
    """A replaced character would make different passwords equal."""
    new = {"username": "ann", "password": "correct horse " + half}
    status, _ = await visitor.post("/register", json=new)
    assert status == 422
    status, _ = await visitor.post("/login", json={"username": half, "password": half})
    assert status == 401


async def test_a_lone_surrogate_reaches_other_processes_as_u_fffd(tmp_path: Path) -> None:
    """Both this program and other publishers on the Redis channel may emit it."""
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


_ITSELF: list[Any] = []
_ITSELF.append(_ITSELF)

BAD = {
    "nan": math.nan,
    "infinity within": {"a": [1, -math.inf]},
    "nan beside bytes": [b"x", math.nan],
    "object": object(),
    "object within": {"a": [object()]},
    "tuple as a key": {(1, 2): 3},
    "bytes as a key": {b"a": 3},
    "contains itself": _ITSELF,
    "eleven binary values": [b"x"] * 11,
}
INTERNAL = '[{"error":"internal error"}]'


class Bad(Echo):
    """Returns and emits data that cannot be sent."""

    async def on_return(self, sid: str, kind: str) -> Any:
        return BAD[kind]

    async def on_two(self, sid: str, kind: str) -> Any:
        return "first", BAD[kind]

    async def on_emit(self, sid: str, kind: str) -> str:
        try:
            await self.emit("bad", BAD[kind])
        except (TypeError, ValueError) as error:
            return str(error)
        return "no error"


class Refusing(Echo):
    """Refuses clients with data that cannot be sent."""

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        raise ConnectionRefusedError("no", math.nan)


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("event", ["return", "two"])
@pytest.mark.parametrize("namespace", ["/", "/custom"])
@served(namespaces=(Bad, Bad))
async def test_an_ack_of_unencodable_data_is_an_internal_error(
    server: Server, kind: str, event: str, namespace: str, caplog: Any
) -> None:
    """The log has one line with the event and the reason, and without the data."""
    websocket = await server.client(namespace)
    prefix = "" if namespace == "/" else "/custom,"
    await websocket.send(f"42{prefix}1{json.dumps([event, kind])}")
    assert await websocket.receive() == f"43{prefix}1{INTERNAL}"
    (line,) = [record for record in caplog.records if record.name == "app.transport"]
    assert f"event '{event}' in '{namespace}'" in line.getMessage()
    assert line.exc_info is None
    await websocket.send(f'42{prefix}2["ack",1]')
    assert await websocket.receive() == f"43{prefix}2[1]"


@pytest.mark.parametrize("kind", BAD)
@served(namespaces=(Bad,))
async def test_an_emit_of_unencodable_data_raises(server: Server, kind: str) -> None:
    """The caller gets the error; no client receives a part, and no callback stays."""
    clients = [await server.client() for _ in range(3)]
    sid = server.sio.peers[clients[0].sid].clients["/"]
    for options in ({}, {"to": sid}, {"to": sid, "callback": print}):
        with pytest.raises((TypeError, ValueError)):
            await server.sio.emit("bad", BAD[kind], **options)
    with pytest.raises((TypeError, ValueError)):
        await server.sio.call("bad", BAD[kind], to=sid, timeout=1)
    assert not server.sio.manager.callbacks
    await clients[0].send(f'421["emit","{kind}"]')
    assert "no error" not in await clients[0].receive()
    await server.sio.emit("good")
    for client in clients:
        assert await client.receive() == '42["good"]'


@served(namespaces=(Bad,))
async def test_an_emit_of_too_many_binary_values_names_the_limit(server: Server) -> None:
    """The official client's parser allows ten, and closes the connection for more."""
    websocket = await server.client()
    with pytest.raises(ValueError, match="can have 10 binary values, and this one has 11"):
        await server.sio.emit("bad", [b"x"] * 11)
    await server.sio.emit("good", [b"x"] * 10)
    assert (await websocket.receive()).startswith('4510-["good"')


@served(namespaces=(Echo, Refusing))
async def test_a_refusal_with_unencodable_data_still_refuses(server: Server, caplog: Any) -> None:
    """The client gets the refusal without its data; the log has the reason."""
    websocket = await server.websocket()
    await websocket.receive()
    await websocket.send("40/custom,")
    assert (await websocket.receive()).startswith('44/custom,{"message":')
    (line,) = [record for record in caplog.records if record.name == "app.transport"]
    assert "connect error of '/custom' cannot be sent" in line.getMessage()


@pytest.mark.parametrize("kind", BAD)
async def test_an_emit_of_unencodable_data_over_redis_raises(tmp_path: Path, kind: str) -> None:
    """It may be to a room, to all clients or with a callback; no client receives it."""
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        tabs = await tabs_at(visitor, one, two)
        sid = tabs[1].client.get_sid("/")
        server = one.services.socket_server
        for options in ({}, {"room": "nobody"}, {"to": sid}, {"to": sid, "callback": print}):
            with pytest.raises((TypeError, ValueError)):
                await server.emit("bad", BAD[kind], **options)
        assert not server.manager.callbacks
        await server.emit("good", 1)
        await until(lambda: all(tab.received for tab in tabs))
        assert [tab.received for tab in tabs] == [[("good", (1,))]] * 2


@served(max_attachments=2)
async def test_clients_may_send_as_many_binary_values_as_the_setting_says(server: Server) -> None:
    """One more closes the connection before the server keeps any of them."""
    websocket = await server.client()
    two = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
    await websocket.send(f'452-1["ack",{two}]', b"a", b"b")
    assert (await websocket.receive()).startswith("462-1[")
    await websocket.send(f'453-1["ack",{two}]')
    await websocket.closed()
    assert server.closed[0][1] == "protocol violation"


@served(max_attachments=0)
async def test_max_attachments_0_refuses_all_binary_values(server: Server) -> None:
    """A binary event closes the connection."""
    websocket = await server.client()
    await websocket.send('421["ack",1]', '451-1["ack",{"_placeholder":true,"num":0}]')
    assert await websocket.receive() == "431[1]"
    await websocket.closed()
    assert server.closed[0][1] == "protocol violation"
