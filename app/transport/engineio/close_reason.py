"""Why a connection closed."""

from __future__ import annotations


class Reason:
    """Why a connection closed, as `on_disconnect` and the metrics are told."""

    SERVER = "server disconnect"
    CLIENT = "client disconnect"
    PING_TIMEOUT = "ping timeout"
    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"
    PARSE_ERROR = "parse error"
    PROTOCOL = "protocol violation"
    JOIN_TIMEOUT = "join timeout"
    SLOW_CLIENT = "client reads too slowly"
    SHUTDOWN = "server shutdown"

    ALL = (
        *(SERVER, CLIENT, PING_TIMEOUT, TRANSPORT_CLOSE, TRANSPORT_ERROR, PARSE_ERROR, PROTOCOL),
        *(JOIN_TIMEOUT, SLOW_CLIENT, SHUTDOWN),
    )
