"""The request that handlers see."""

from __future__ import annotations

import copy
from http.cookies import SimpleCookie

from tornado.escape import parse_qs_bytes
from tornado.httputil import HTTPFile, HTTPInputError, split_host_and_port

from app.common.cached_value import cached_value
from app.transport.http.cookies import cookie_jar
from app.transport.http.exchange import Exchange
from app.transport.tornado_private import BareRequest

_MAX_ARGUMENTS = 1000  # in a query, as Tornado has it


class Request(BareRequest):
    """Tornado's request; attributes that few handlers ask for are made when they are asked for."""

    def __init__(self, exchange: Exchange, server_connection: object) -> None:
        """Raises HTTPInputError for a query of too many arguments."""
        super().__init__()
        head, context = exchange.head, exchange.context
        self.method, self.uri, self.version = head.start_line
        self.path, _, self.query = self.uri.partition("?")
        if self.query.count("&") >= _MAX_ARGUMENTS:
            raise HTTPInputError("too many arguments")
        self.headers = head.headers
        self.host = head.host
        self.remote_ip: str | None = context.remote_ip
        self.protocol = context.protocol
        self.connection = exchange
        self.server_connection = server_connection
        self.body = b""

    @cached_value
    def host_name(self) -> str:
        return split_host_and_port(self.host.lower())[0]

    @cached_value
    def cookies(self) -> SimpleCookie:  # pyright: ignore[reportIncompatibleMethodOverride]
        return cookie_jar(self.headers.get_list("Cookie"))

    @cached_value
    def query_arguments(self) -> dict[str, list[bytes]]:
        return parse_qs_bytes(self.query, keep_blank_values=True)

    @cached_value
    def arguments(self) -> dict[str, list[bytes]]:
        return copy.deepcopy(self.query_arguments)

    @cached_value
    def body_arguments(self) -> dict[str, list[bytes]]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return {}

    @cached_value
    def files(self) -> dict[str, list[HTTPFile]]:
        return {}
