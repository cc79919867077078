"""The private parts of Tornado that this program uses, each behind one function.

`setup.py` allows the releases in `RANGE`, and `tests/transport/test_contract.py` checks that each
part is there. To allow another release, run that test with it, then widen both ranges.
"""

from __future__ import annotations

from collections.abc import Callable

from tornado.httputil import HTTPHeaders
from tornado.web import RequestHandler

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


class OriginRule(RequestHandler):
    """A handler whose own rule for origins replaces that of Tornado."""

    def origin_error(self, trusted: Callable[[str], bool]) -> str | None:
        """Return why the origin of this request is refused; None if it is allowed."""
        raise NotImplementedError

    def _check_cross_origin(self, check: Callable[[str], bool]) -> str | None:
        return self.origin_error(check)
