"""Response headers that keep browsers out of trouble (OWASP ASVS 5.0, 3.4)."""

from __future__ import annotations

import re

from tornado.web import RequestHandler, StaticFileHandler

_HOST = re.compile(r"[A-Za-z0-9.\-\[\]:]{1,255}")


class SecurityHeaders(RequestHandler):
    """Puts the security headers on every response of a handler, errors included."""

    def set_default_headers(self) -> None:
        secure = self.request.protocol == "https"
        self.set_header("Content-Security-Policy", self._policy(secure))
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.clear_header("Server")
        if secure:
            self.set_header("Strict-Transport-Security", "max-age=31536000; includeSubDomains")

    def _policy(self, secure: bool) -> str:
        """Own scripts and styles only; `'self'` does not cover WebSockets in older browsers."""
        host = self.request.host if _HOST.fullmatch(self.request.host) else ""
        socket = f" {'wss' if secure else 'ws'}://{host}" if host else ""
        scripts = " ".join(["'self'", *self.settings.get("script_sources", ())])
        return (
            f"default-src 'none'; script-src {scripts}; style-src 'self'; img-src 'self' data:; "
            f"connect-src 'self'{socket}; form-action 'self'; frame-ancestors 'none'; "
            "base-uri 'none'"
        )


class StaticHandler(SecurityHeaders, StaticFileHandler):
    """Serves /static/ with the security headers."""
