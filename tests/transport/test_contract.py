"""The parts of python-engineio, python-socketio and Tornado that the transport uses exist.

If one of these tests fails after a new release, read its changes first. If a method has moved,
the dependency may run code again that `app/transport/socketio` replaces.
"""

from __future__ import annotations

import inspect
import re
import socket
from importlib.metadata import version
from typing import Any

import pytest
import socketio
import tornado
import tornado.httputil
import tornado.iostream
import tornado.web
import tornado.websocket
from packaging.specifiers import SpecifierSet
from socketio.async_pubsub_manager import AsyncPubSubManager

from app.transport import Rooms, SocketServer, tornado_private
from app.transport.socketio import python_socketio as library
from app.transport.socketio.python_socketio import EngineApi, Library, LibraryManager
from app.web.security_headers import SecurityHeaders
from tests.support.http_client import request
from tests.support.http_site import http_site
from tests.support.paths import ROOT
from tests.support.socket_server import Settings

#: class of theirs -> method -> its parameters when this was written
REPLACED: dict[type, dict[str, list[str]]] = {
    socketio.AsyncServer: {
        "enter_room": ["self", "sid", "room", "namespace"],
        "leave_room": ["self", "sid", "room", "namespace"],
        "close_room": ["self", "room", "namespace"],
        "_engineio_server_class": ["self"],
        "transport": ["self", "sid", "namespace"],
        "disconnect": ["self", "sid", "namespace", "ignore_queue"],
        "emit": [
            *("self", "event", "data", "to", "room", "skip_sid", "namespace", "callback"),
            "ignore_queue",
        ],
        "call": [
            *("self", "event", "data", "to", "sid", "namespace", "timeout", "ignore_queue"),
        ],
        "shutdown": ["self"],
        "instrument": [
            *("self", "auth", "mode", "read_only", "server_id", "namespace"),
            "server_stats_interval",
        ],
    },
    socketio.AsyncManager: {
        "pre_connect": ["self", "eio_sid", "namespace"],
        "connect": ["self", "sid", "namespace"],
        "pre_disconnect": ["self", "sid", "namespace"],
        "basic_disconnect": ["self", "sid", "namespace", "kwargs"],
        "can_disconnect": ["self", "sid", "namespace"],
        "is_pre_connected": ["self", "sid", "namespace"],
        "is_connected": ["self", "sid", "namespace"],
        "eio_sid_from_sid": ["self", "sid", "namespace"],
        "sid_from_eio_sid": ["self", "eio_sid", "namespace"],
        "is_sid_room": ["self", "namespace", "room"],
        "basic_enter_room": ["self", "sid", "namespace", "room", "eio_sid"],
        "basic_leave_room": ["self", "sid", "namespace", "room"],
        "get_rooms": ["self", "sid", "namespace"],
        "get_participants": ["self", "namespace", "room"],
        "basic_close_room": ["self", "room", "namespace"],
        "emit": [
            *("self", "event", "data", "namespace", "room", "skip_sid", "callback", "to"),
            "kwargs",
        ],
        "_generate_ack_id": ["self", "sid", "callback"],
        "trigger_callback": ["self", "sid", "id", "data"],
    },
}

#: what of theirs is called or relied upon, and goes on running
USED: dict[type, dict[str, list[str]]] = {
    socketio.AsyncServer: {
        "_trigger_event": ["self", "event", "namespace", "args"],
        "register_namespace": ["self", "namespace_handler"],
    },
    socketio.AsyncManager: {
        "enter_room": ["self", "sid", "namespace", "room", "eio_sid"],
        "leave_room": ["self", "sid", "namespace", "room"],
        "close_room": ["self", "room", "namespace"],
    },
    AsyncPubSubManager: {
        "_publish": ["self", "data"],
        "_handle_emit": ["self", "message"],
        "_handle_callback": ["self", "message"],
        "_handle_disconnect": ["self", "message"],
        "_handle_enter_room": ["self", "message"],
        "_handle_leave_room": ["self", "message"],
        "_handle_close_room": ["self", "message"],
        "_generate_ack_id": ["self", "sid", "callback"],
    },
    socketio.AsyncNamespace: {"trigger_event": ["self", "event", "args"]},
    tornado.web.RequestHandler: {
        "data_received": ["self", "chunk"],
        "on_connection_close": ["self"],
        "compute_etag": ["self"],
        "check_xsrf_cookie": ["self"],
        "clear": ["self"],
        "_execute": ["self", "transforms", "args", "kwargs"],
        "_request_summary": ["self"],
        "_check_cross_origin": ["self", "check"],
    },
    tornado.web.Application: {
        "start_request": ["self", "server_conn", "request_conn"],
        "on_close": ["self", "server_conn"],
        "find_handler": ["self", "request", "kwargs"],
        "get_handler_delegate": [
            *("self", "request", "target_class", "target_kwargs", "path_args", "path_kwargs"),
        ],
    },
    tornado.websocket.WebSocketHandler: {
        "on_message": ["self", "message"],
        "close": ["self", "code", "reason"],
        "check_origin": ["self", "origin"],
    },
    tornado.iostream.IOStream: {
        "close_fd": ["self"],
        "set_close_callback": ["self", "callback"],
    },
    tornado.httputil.HTTPMessageDelegate: {
        "headers_received": ["self", "start_line", "headers"],
        "data_received": ["self", "chunk"],
        "finish": ["self"],
        "on_connection_close": ["self"],
    },
    tornado.httputil.HTTPConnection: {
        "write_headers": ["self", "start_line", "headers", "chunk"],
        "write": ["self", "chunk"],
        "finish": ["self"],
    },
}

OURS: dict[type, type] = {
    socketio.AsyncServer: SocketServer,
    socketio.AsyncManager: Rooms,
}


def methods(table: dict[type, dict[str, list[str]]]) -> list[Any]:
    return [
        pytest.param(owner, name, parameters, id=f"{owner.__module__}.{owner.__name__}.{name}")
        for owner, names in table.items()
        for name, parameters in names.items()
    ]


@pytest.mark.parametrize(("owner", "name", "parameters"), methods(REPLACED) + methods(USED))
def test_each_used_method_exists(owner: type, name: str, parameters: list[str]) -> None:
    """It has the same name and parameters."""
    method = getattr(owner, name, None)
    where = f"{owner.__module__}.{owner.__name__}.{name}"
    assert method is not None, f"{where} is gone; app/transport builds on it"
    found = list(inspect.signature(method).parameters)
    assert found == parameters, f"{where} takes {found} now, app/transport expects {parameters}"


@pytest.mark.parametrize(("owner", "name", "parameters"), methods(REPLACED))
def test_each_listed_method_is_replaced(owner: type, name: str, parameters: list[str]) -> None:
    """The replacement accepts at least the same calls."""
    ours = getattr(OURS[owner], name)
    assert ours is not getattr(owner, name), f"{OURS[owner].__name__} does not override {name}"
    assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(getattr(owner, name))


def test_no_other_method_is_replaced() -> None:
    """A new method of theirs with the name of one of ours would be hidden."""
    allowed = {"__init__", "__module__", "__doc__", "__annotations__", "__dict__", "__weakref__"}
    allowed |= {"__static_attributes__", "__firstlineno__", "__annotate_func__"}
    allowed |= {"__annotations_cache__", "__slotnames__", "__parameters__"}
    for theirs, ours in OURS.items():
        listed = REPLACED[theirs].keys() | allowed
        own = {name for base in ours.__mro__[: ours.__mro__.index(theirs)] for name in vars(base)}
        hidden = {name for name in own if hasattr(theirs, name)} - listed
        assert not hidden, f"{ours.__name__} hides {hidden} of {theirs.__name__}"


def test_the_server_has_the_attributes_that_are_read() -> None:
    """`app/transport/socketio` reads them."""
    sio = SocketServer(Settings())
    for name in (
        *("environ", "handlers", "namespace_handlers", "namespaces", "not_handled"),
        *("manager", "manager_initialized", "eio"),
    ):
        assert hasattr(sio, name), f"socketio.AsyncServer has no {name} any more"
    assert isinstance(sio.eio, EngineApi)
    assert isinstance(sio.manager, Rooms)
    assert sio.manager.server is sio
    assert hasattr(sio.manager, "callbacks")


def test_the_engine_has_all_methods_that_python_socketio_calls() -> None:
    """python-socketio calls these on `eio`; other callers are replaced.

    `attach` is for servers other than Tornado.
    """
    sources = [
        inspect.getsource(owner)
        for owner in (*Library.__mro__, *LibraryManager.__mro__[1:])
        if owner.__module__.startswith("socketio.")
    ]
    called = set(re.findall(r"\.eio\.([a-z_]+)", "".join(sources)))
    replaced = {"generate_id", "send", "send_packet", "shutdown", "transport"}
    offered = {name for name in vars(EngineApi) if not name.startswith("_")}
    assert called - replaced - {"attach"} == offered


async def test_a_request_has_all_attributes_of_tornados() -> None:
    """`Request` sets its attributes itself, and computes rare ones on demand."""
    async with http_site() as site:
        made: list[tornado.httputil.HTTPServerRequest] = []
        find = site.app.find_handler

        def noted(request: tornado.httputil.HTTPServerRequest, **options: Any) -> Any:
            made.append(request)
            return find(request, **options)

        site.app.find_handler = noted  # type: ignore[method-assign]
        await site.talk(request("/path?a=1&a=2&b"))
    (ours,) = made
    theirs = tornado.httputil.HTTPServerRequest(
        start_line=tornado.httputil.RequestStartLine("GET", "/path?a=1&a=2&b", "HTTP/1.1"),
        headers=ours.headers,
        connection=ours.connection,
        server_connection=ours.server_connection,
    )
    for name, value in vars(theirs).items():
        if name != "_start_time":
            assert getattr(ours, name) == value, name


def test_a_response_has_the_initial_state_of_tornados() -> None:
    """`SecurityHeaders.clear` sets the attributes that `RequestHandler.clear` sets."""
    source = inspect.getsource(tornado.web.RequestHandler.clear)
    ours = inspect.getsource(SecurityHeaders.clear)
    ours += inspect.getsource(tornado_private.begin_response)
    for name in re.findall(r"self\.(_[a-z_]+)", source):
        assert name in ours or name in ("_status_code", "_reason"), name  # those by set_status


def test_setup_has_the_ranges_of_the_private_modules() -> None:
    """setup.py and the modules that use private parts name the same ranges."""
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    assert f'"tornado{tornado_private.RANGE}"' in setup
    assert SpecifierSet(tornado_private.RANGE).contains(tornado.version)
    assert f'"python-socketio{library.RANGE}"' in setup
    assert SpecifierSet(library.RANGE).contains(version("python-socketio"))


@pytest.mark.parametrize(
    "name", ["_headers_written", "_finished", "_reason", "_headers", "_write_buffer"]
)
def test_a_handler_has_the_attributes_that_are_used(name: str) -> None:
    """`app/transport/tornado_private.py` reads or sets them."""
    source = inspect.getsource(tornado.web.RequestHandler)
    assert re.search(rf"\bself\.{name}(: .*)? = ", source)


def test_only_one_module_uses_private_parts_of_tornado() -> None:
    """All others call `app/transport/tornado_private.py`."""
    here = inspect.getsource(tornado_private)
    parts = set(re.findall(r"\b(?:handler|handler_class|request|stream|self)\.(_[a-z]\w+)", here))
    assert len(parts) >= 14
    used = re.compile(rf"\b\w+\.({'|'.join(parts)})\b|def ({'|'.join(parts)})\(")
    for path in (ROOT / "app").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "tornado" in source and path.name != "tornado_private.py":
            assert not used.search(source), path


def test_no_logging_handler_is_installed() -> None:
    """python-engineio and python-socketio install one unless they are given a logger."""
    import logging

    before = [*logging.getLogger("engineio.server").handlers]
    before += logging.getLogger("socketio.server").handlers
    SocketServer(Settings())
    after = [*logging.getLogger("engineio.server").handlers]
    assert after + logging.getLogger("socketio.server").handlers == before


async def test_tornado_still_reads_the_buffers_of_a_detached_stream() -> None:
    """`fill_read_buffer` puts the data that the server has read into these two."""
    left, right = socket.socketpair()
    stream = tornado.iostream.IOStream(left)
    tornado_private.fill_read_buffer(stream, b"early")
    right.send(b" late")
    assert await stream.read_bytes(10) == b"early late"
    stream.close()
    right.close()


def test_tornados_websocket_asks_its_handler_for_the_stream() -> None:
    """It calls the public `detach`, which `BaseWebSocket` overrides."""
    source = inspect.getsource(tornado.websocket)
    assert "return self.detach()" in inspect.getsource(
        tornado.websocket.WebSocketHandler._detach_stream
    )
    assert "set_close_callback" not in source
