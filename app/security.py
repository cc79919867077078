"""Response headers that keep browsers out of trouble (OWASP ASVS 5.0, 3.4)."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from app.transport.http_headers import Headers

_HOST = re.compile(r"[A-Za-z0-9.\-\[\]:]{1,255}")


@functools.lru_cache(256)
def content_security_policy(host: str, secure: bool, scripts: tuple[str, ...]) -> str:
    """Return the policy: own scripts and styles, `scripts`, and sockets to `host`.

    The host is named because `'self'` does not cover WebSockets in older browsers.
    """
    socket = f" {'wss' if secure else 'ws'}://{host}" if _HOST.fullmatch(host) else ""
    sources = " ".join(["'self'", *scripts])
    return (
        f"default-src 'none'; object-src 'none'; script-src {sources}; "
        f"style-src 'self'; img-src 'self' data:; connect-src 'self'{socket}; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )


@functools.lru_cache(256)
def _security_headers(host: str, secure: bool, scripts: tuple[str, ...]) -> Headers:
    """Return what every response begins with, to be copied."""
    headers = Headers(
        (
            ("Content-Type", "text/html; charset=UTF-8"),
            ("Content-Security-Policy", content_security_policy(host, secure, scripts)),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "same-origin"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        )
    )
    if secure:
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    return headers


class SecurityHeaders(RequestHandler):
    """Puts the security headers on every response of a handler, errors included."""

    def clear(self) -> None:
        """Begin the response anew (`HttpServer` adds the date)."""
        request, scripts = self.request, self.settings.get("script_sources", ())
        secure = request.protocol == "https"
        self._headers = _security_headers(request.host, secure, scripts).copy()
        self._write_buffer = []
        self.set_status(200)
        self.set_default_headers()

    def head(self, *arguments: Any, **named: Any) -> Any:
        """Answer as GET does; the body is left out on the way (RFC 9110, 9.3.2)."""
        get: Callable[..., Any] = self.get
        return get(*arguments, **named)

    def log_exception(self, kind: Any, error: Any, traceback: Any) -> None:
        """Log what many may meet at once in one line, of which there are only so many a second."""
        services, request = self.settings["services"], self.request
        why = f"{str(request.method)[:20]} {request.path[:100]!r}: {str(error)[:300]}"
        if isinstance(error, HTTPError) and error.status_code < 500:
            services.complaints.add(request.remote_ip, why)
        elif isinstance(error, HTTPError) and error.status_code == 503:
            services.outages.add(request.remote_ip, why)
        else:
            super().log_exception(kind, error, traceback)

    def _origin_matches_host(self, origin: str) -> bool:
        """Tornado's own, which raises for an Origin that is no URL."""
        try:
            return super()._origin_matches_host(origin)
        except ValueError:
            return False


class StaticHandler(SecurityHeaders, StaticFileHandler):
    """Serves /static/ with the security headers; other sites' pages may load what is there."""

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Cross-Origin-Resource-Policy", "cross-origin")

    def parse_url_path(self, url_path: str) -> str:
        """Refuse what no file system has a name for."""
        if "\0" in url_path:
            raise HTTPError(404)
        return super().parse_url_path(url_path)
