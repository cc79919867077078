"""The states of connections, requests and responses, and their transitions, without a socket."""

from __future__ import annotations

import itertools
from enum import IntEnum
from typing import Any

import pytest
from tornado.httputil import HTTPOutputError, ResponseStartLine

from app.transport.http.head import parse_head
from app.transport.http.headers import Headers
from app.transport.http.response import Response
from app.transport.http.states import (
    CONNECTION,
    REQUEST,
    RESPONSE,
    SERVER,
    ConnectionState,
    IllegalTransition,
    RequestState,
    ResponseState,
    ServerState,
    follow,
)

TABLES: dict[type[IntEnum], Any] = {
    ServerState: SERVER,
    ConnectionState: CONNECTION,
    RequestState: REQUEST,
    ResponseState: RESPONSE,
}
PAIRS = [(kind, *pair) for kind in TABLES for pair in itertools.product(kind, repeat=2)]
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(("kind", "now", "then"), PAIRS, ids=str)
def test_only_the_transitions_of_the_table_are_allowed(kind: Any, now: Any, then: Any) -> None:
    table = TABLES[kind]
    if then in table[now]:
        assert follow(table, now, then) is then
        return
    with pytest.raises(IllegalTransition, match=f"{then.name} cannot follow {now.name}"):
        follow(table, now, then)


@pytest.mark.parametrize("kind", TABLES)
def test_every_state_can_be_reached_from_the_first(kind: Any) -> None:
    reached: set[IntEnum] = set()
    waiting = {next(iter(kind))}
    while waiting:
        state = waiting.pop()
        reached.add(state)
        waiting |= TABLES[kind][state] - reached
    assert reached == set(kind)


def test_a_closed_connection_and_a_closed_response_stay_closed() -> None:
    assert not CONNECTION[ConnectionState.CLOSED]
    assert not RESPONSE[ResponseState.CLOSED]


def response(request: bytes = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") -> Response:
    return Response(parse_head(request))


def begin(it: Response, status: int = 200, **headers: str) -> bytes:
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return it.begin(ResponseStartLine("", status, "Reason"), Headers(fields), DATE, False)


def test_a_response_with_a_length_is_framed_by_it() -> None:
    it = response()
    head = begin(it, Content_Length="3")
    assert head == (
        b"HTTP/1.1 200 Reason\r\nContent-Length: 3\r\nDate: " + DATE.encode() + b"\r\n\r\n"
    )
    assert it.piece(b"abc") + it.end() == b"abc"
    assert it.state is ResponseState.COMPLETE
    assert it.keep_alive


def test_a_response_without_a_length_is_chunked() -> None:
    it = response()
    assert b"Transfer-Encoding: chunked\r\n" in begin(it)
    assert it.piece(b"abc") == b"3\r\nabc\r\n"
    assert it.end() == b"0\r\n\r\n"


def test_an_http_1_0_response_without_a_length_ends_with_its_connection() -> None:
    it = response(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    begin(it)
    assert it.piece(b"abc") + it.end() == b"abc"
    assert not it.keep_alive


def test_a_101_is_switching_until_it_ends() -> None:
    it = response()
    states = [it.state]
    begin(it, 101)
    states.append(it.state)
    assert it.end() == b""
    states.append(it.state)
    assert states == [ResponseState.NOTHING, ResponseState.SWITCHING, ResponseState.SWITCHED]


def test_a_response_out_of_order_raises() -> None:
    with pytest.raises(HTTPOutputError, match="before its headers"):
        response().piece(b"abc")
    with pytest.raises(HTTPOutputError, match="before its headers"):
        response().end()
    it = response()
    begin(it, Content_Length="3")
    with pytest.raises(HTTPOutputError, match="twice"):
        begin(it)
    with pytest.raises(HTTPOutputError, match="3 bytes less"):
        it.end()
    with pytest.raises(HTTPOutputError, match="more data"):
        it.piece(b"four")


def test_a_refused_head_does_not_begin_the_response() -> None:
    """An error page can still begin, with or without a length."""
    it = response()
    with pytest.raises(ValueError):
        begin(it, X="a\r\nSet-Cookie: b")
    with pytest.raises(ValueError):
        begin(it, Content_Length="-1")
    assert it.state is ResponseState.NOTHING
    begin(it, 500, Content_Length="3")
    assert it.piece(b"abc") == b"abc"


def test_a_closed_response_cannot_end() -> None:
    """Ending it is an internal error: the handler must have been stopped before."""
    it = response()
    begin(it)
    it.close()
    with pytest.raises(IllegalTransition, match="ResponseState: COMPLETE cannot follow CLOSED"):
        it.end()
