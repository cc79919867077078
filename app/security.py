"""Response headers that keep browsers out of trouble (OWASP ASVS 5.0, 3.4)."""

from __future__ import annotations

import functools
import re
from typing import Any

from tornado.web import HTTPError, RequestHandler, StaticFileHandler

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


class SecurityHeaders(RequestHandler):
    """Puts the security headers on every response of a handler, errors included."""

    def set_default_headers(self) -> None:
        super().set_default_headers()
        secure = self.request.protocol == "https"
        scripts = self.settings.get("script_sources", ())
        self.set_header(
            "Content-Security-Policy", content_security_policy(self.request.host, secure, scripts)
        )
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.clear_header("Server")
        if secure:
            self.set_header("Strict-Transport-Security", "max-age=31536000; includeSubDomains")

    def log_exception(self, kind: Any, error: Any, traceback: Any) -> None:
        """Log what was refused in one line, of which there are only so many a second."""
        if isinstance(error, HTTPError):
            services, why = self.settings["services"], str(error)[:300]
            told = services.complaints if error.status_code < 500 else services.failures
            told.add(self.request.remote_ip, why)
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
