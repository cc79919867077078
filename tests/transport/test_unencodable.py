"""Data that JSON cannot hold, or a client cannot take: an ack says so, and an emit raises."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from socketio.exceptions import ConnectionRefusedError

from tests.support.browsers import PythonVisitor
from tests.support.sites import sites, tabs_at
from tests.support.socket_server import Echo, Server, served
from tests.support.waiting import until

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
    """Returns and emits what cannot be sent."""

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
async def test_an_ack_that_cannot_be_sent_says_so(
    server: Server, kind: str, event: str, namespace: str, caplog: Any
) -> None:
    """One line in the log names event and reason; nothing of the data is in it."""
    websocket = await server.client(namespace)
    prefix = "" if namespace == "/" else "/custom,"
    await websocket.send(f"42{prefix}1{json.dumps([event, kind])}")
    assert await websocket.receive() == f"43{prefix}1{INTERNAL}"
    (line,) = [record for record in caplog.records if record.name == "app.transport"]
    assert f"event '{event}' in {namespace}" in line.getMessage()
    assert line.exc_info is None
    await websocket.send(f'42{prefix}2["ack",1]')
    assert await websocket.receive() == f"43{prefix}2[1]"


@pytest.mark.parametrize("kind", BAD)
@served(namespaces=(Bad,))
async def test_an_emit_of_unencodable_data_raises(server: Server, kind: str) -> None:
    """Where it was called; none of several receivers gets a part of it, and no callback is left."""
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
    """The parser of the official client allows ten, and closes the connection for more."""
    websocket = await server.client()
    with pytest.raises(ValueError, match="can have 10 binary values, and this one has 11"):
        await server.sio.emit("bad", [b"x"] * 11)
    await server.sio.emit("good", [b"x"] * 10)
    assert (await websocket.receive()).startswith('4510-["good"')


@served(namespaces=(Echo, Refusing))
async def test_a_refusal_that_cannot_be_sent_still_refuses(server: Server, caplog: Any) -> None:
    """The client hears that it was refused; the log hears why its data is missing."""
    websocket = await server.websocket()
    await websocket.receive()
    await websocket.send("40/custom,")
    assert (await websocket.receive()).startswith('44/custom,{"message":')
    (line,) = [record for record in caplog.records if record.name == "app.transport"]
    assert "connect error of /custom cannot be sent" in line.getMessage()


@pytest.mark.parametrize("kind", BAD)
async def test_an_emit_over_redis_raises_too(tmp_path: Path, kind: str) -> None:
    """To a room, to all and with a callback; it reaches no client of any process."""
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
    """One more closes the connection before any of them is kept."""
    websocket = await server.client()
    two = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
    await websocket.send(f'452-1["ack",{two}]', b"a", b"b")
    assert (await websocket.receive()).startswith("462-1[")
    await websocket.send(f'453-1["ack",{two}]')
    await websocket.closed()
    assert server.closed[0][1] == "protocol violation"


@served(max_attachments=0)
async def test_no_binary_values_at_all_may_be_allowed(server: Server) -> None:
    """With --max-attachments 0."""
    websocket = await server.client()
    await websocket.send('421["ack",1]', '451-1["ack",{"_placeholder":true,"num":0}]')
    assert await websocket.receive() == "431[1]"
    await websocket.closed()
    assert server.closed[0][1] == "protocol violation"
