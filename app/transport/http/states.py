"""The states of a connection, a request and a response, and which may follow which.

The tables are written as in h11: what they do not list is a fault of this program. Files on the
path of every request name the members at their top, because Python 3.11 takes 0.25 µs to read one
through its class.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from enum import IntEnum
from typing import TypeVar


class ServerState(IntEnum):
    """The life of a server."""

    SERVING = 0
    #: Each response is the last one on its connection.
    DRAINING = 1
    #: Connections without a request in hand are closed.
    CLOSING = 2


class ConnectionState(IntEnum):
    """One connection of a client; before CLOSING, requests are read and answered."""

    #: No request has begun, or the next one waits for its turn.
    IDLE = 0
    #: The beginning of a request's head is here.
    HEAD = 1
    #: A request is in hand.
    REQUEST = 2
    #: The last response is written; whatever else comes is dropped.
    CLOSING = 3
    #: Another protocol has the connection.
    DETACHED = 4
    CLOSED = 5


class RequestState(IntEnum):
    """How much of a request its delegate has."""

    #: The head; the delegate may still refuse the body, or wait.
    HEAD = 0
    #: The body may come.
    BODY = 1
    COMPLETE = 2


class ResponseState(IntEnum):
    """How much of a response is written; before COMPLETE, the handler may write."""

    NOTHING = 0
    #: The head, and perhaps a part of the body.
    BODY = 1
    #: The head of a 101, which leaves with the first word of the next protocol.
    SWITCHING = 2
    COMPLETE = 3
    #: A complete 101: its connection can be handed over.
    SWITCHED = 4
    #: Nobody reads it: the client has left, or another request follows.
    CLOSED = 5


State = TypeVar("State", bound=IntEnum)
Table = Mapping[State, frozenset[State]]


def _table(rows: dict[State, set[State]]) -> Table[State]:
    return types.MappingProxyType({now: frozenset(then) for now, then in rows.items()})


SERVER: Table[ServerState] = _table(
    {
        ServerState.SERVING: {ServerState.DRAINING, ServerState.CLOSING},
        ServerState.DRAINING: {ServerState.DRAINING, ServerState.CLOSING},
        ServerState.CLOSING: {ServerState.CLOSING},
    }
)
_C = ConnectionState
CONNECTION: Table[ConnectionState] = _table(
    {
        _C.IDLE: {_C.HEAD, _C.REQUEST, _C.CLOSING, _C.CLOSED},
        _C.HEAD: {_C.REQUEST, _C.CLOSING, _C.CLOSED},
        _C.REQUEST: {_C.IDLE, _C.CLOSING, _C.DETACHED, _C.CLOSED},
        _C.CLOSING: {_C.CLOSED},
        _C.DETACHED: {_C.CLOSED},
        _C.CLOSED: set(),
    }
)
REQUEST: Table[RequestState] = _table(
    {
        RequestState.HEAD: {RequestState.BODY},
        RequestState.BODY: {RequestState.COMPLETE},
        RequestState.COMPLETE: set(),
    }
)
_R = ResponseState
RESPONSE: Table[ResponseState] = _table(
    {
        _R.NOTHING: {_R.BODY, _R.SWITCHING, _R.CLOSED},
        _R.BODY: {_R.COMPLETE, _R.CLOSED},
        _R.COMPLETE: {_R.CLOSED},
        _R.SWITCHING: {_R.SWITCHED, _R.CLOSED},
        _R.SWITCHED: {_R.CLOSED},
        _R.CLOSED: set(),
    }
)


class IllegalTransition(RuntimeError):
    """An internal error: the program asked for a state that cannot follow the present one."""


def follow(table: Table[State], now: State, then: State) -> State:
    """Return `then`. Raises IllegalTransition if the table does not have it after `now`."""
    if then not in table[now]:
        raise IllegalTransition(f"{type(now).__name__}: {then.name} cannot follow {now.name}")
    return then
