"""The private parts of Tornado that this program uses, each behind one function.

`setup.py` allows the releases in `RANGE`, and `tests/transport/test_contract.py` checks that each
part is there. To allow another release, run that test with it, then widen both ranges.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from tornado.concurrent import future_set_result_unless_cancelled
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.iostream import IOStream
from tornado.web import OutputTransform, RequestHandler

RANGE = ">=6.6,<6.7"


def response_begun(handler: RequestHandler) -> bool:
    """Whether the head of the response has left, so that no header can be set any more."""
    return handler._headers_written


def finished(handler: RequestHandler) -> bool:
    """Whether the response is complete."""
    return handler._finished


def reason_phrase(handler: RequestHandler) -> str:
    """Return the reason phrase of the response's status line."""
    return handler._reason


def response_headers(handler: RequestHandler) -> HTTPHeaders:
    """Return the headers of the response, as they are so far."""
    return handler._headers


def begin_response(handler: RequestHandler, headers: HTTPHeaders) -> None:
    """Give a handler an empty response with these headers; for an override of `clear`."""
    handler._headers = headers
    handler._write_buffer = []
    handler.set_status(200)


def request_summary(handler: RequestHandler) -> str:
    """Return method, address and client of the request, as Tornado's log has them."""
    return handler._request_summary()


def streams_body(handler_class: type[RequestHandler]) -> bool:
    """Whether a handler is made by `@stream_request_body`, so that it begins before its body."""
    return handler_class._stream_request_body


def run_handler(
    handler: RequestHandler,
    transforms: list[OutputTransform],
    values: tuple[Sequence[bytes], Mapping[str, bytes]],
) -> Coroutine[Any, Any, None]:
    """Return the coroutine that runs a handler with the values that its route found in the path."""
    arguments, named = values
    return handler._execute(transforms, *arguments, **named)


def tell_when_prepared(handler: RequestHandler, future: asyncio.Future[None]) -> None:
    """Have the future done when `prepare` has ended: the body may come."""
    handler._prepared_future = future  # type: ignore[assignment]  # None, as Tornado declares it


def set_body_future(request: HTTPServerRequest, future: asyncio.Future[None]) -> None:
    """Let the handler of a streamed body wait for this future before its method runs."""
    request._body_future = future


def end_body(request: HTTPServerRequest) -> None:
    """Tell the handler of a streamed body that it has all of it."""
    future_set_result_unless_cancelled(request._body_future, None)


def fill_read_buffer(stream: IOStream, received: bytes) -> None:
    """Have a new stream begin with bytes that were read from its socket before."""
    stream._read_buffer += received
    stream._read_buffer_size = len(received)


class BareRequest(HTTPServerRequest):
    """Tornado's request without its attributes, which a subclass has to set."""

    def __init__(self) -> None:
        self._start_time = time.time()
        self._finish_time = None

    def _parse_body(self) -> None:
        if self.body:  # most requests have none, and Tornado would look for fields in it
            super()._parse_body()


class OriginRule(RequestHandler):
    """A handler whose own rule for origins replaces that of Tornado."""

    def origin_error(self, trusted: Callable[[str], bool]) -> str | None:
        """Return why the origin of this request is refused; None if it is allowed."""
        raise NotImplementedError

    def _check_cross_origin(self, check: Callable[[str], bool]) -> str | None:
        return self.origin_error(check)
