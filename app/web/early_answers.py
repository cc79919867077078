"""Answers that come before routing: 421 for unknown hosts, 204 for CORS preflights."""

from __future__ import annotations

import re
from collections.abc import Callable

from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, RequestHandler, stream_request_body

from app.web.cors import trusted_origin
from app.web.hosts import Hosts
from app.web.origin import Origins
from app.web.security_headers import SecurityHeaders

_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
_PREFLIGHT_MAX_AGE = 600  # seconds that a browser may cache the answer


@stream_request_body
class MisdirectedHandler(SecurityHeaders):
    """421 for a host that is not in --allowed-hosts (RFC 9110, 15.5.20), on every route."""

    def origin_error(self, trusted: Callable[[str], bool]) -> None:
        """Allow every origin: its requests get the 421 too."""

    def prepare(self) -> None:
        sentence = "the host %r is not served here; add it with --allowed-hosts"
        raise HTTPError(421, sentence, self.request.host[:200])

    def data_received(self, chunk: bytes) -> None:
        """Ignore the body."""

    def write_error(self, status_code: int, **kwargs: object) -> None:
        """Answer with one sentence as plain text."""
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.set_header("Cache-Control", "no-store")
        host = ascii(self.request.host[:200])
        self.finish(f"The host {host} is not served here. Add it with --allowed-hosts.\n")


class PreflightHandler(SecurityHeaders):
    """204 for the CORS preflight of a page of a trusted origin (Fetch, 3.2.2)."""

    def options(self) -> None:
        self.set_status(204)
        self.add_header("Vary", "Access-Control-Request-Headers")
        self.set_header("Access-Control-Allow-Methods", ", ".join(self.SUPPORTED_METHODS))
        wanted = self.request.headers.get("Access-Control-Request-Headers", "")
        if _NAMES.fullmatch(wanted):
            self.set_header("Access-Control-Allow-Headers", wanted)
        self.set_header("Access-Control-Max-Age", str(_PREFLIGHT_MAX_AGE))


def answer_early(
    request: HTTPServerRequest, hosts: Hosts, trusted: Origins
) -> type[RequestHandler] | None:
    """Return a handler that answers instead of the route's, or None.

    A preflight has no cookie and changes nothing, so every path gets the same answer. The page
    can then read the answer to the request itself, a 404 included.
    """
    if request.host not in hosts:
        return MisdirectedHandler
    if (
        request.method == "OPTIONS"
        and "Access-Control-Request-Method" in request.headers
        and trusted_origin(request, trusted) is not None
    ):
        return PreflightHandler
    return None
