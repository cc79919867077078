"""Security headers of responses (OWASP ASVS 5.0, 3.4)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from tornado.web import HTTPError, StaticFileHandler

from app.transport.descriptors import out_of_descriptors
from app.transport.http.headers import Headers
from app.transport.tornado_private import begin_response
from app.web.content_security import Additions, checked, content_security_policy
from app.web.cors import cors_headers
from app.web.origin_check import OriginCheck


@functools.lru_cache(256)
def _security_headers(
    host: str,
    secure: bool,
    strict_transport: str,
    scripts: tuple[str, ...],
    ancestors: tuple[str, ...],
    additions: Additions,
) -> Headers:
    """Return the first headers of every response; copy them before a change."""
    policy = content_security_policy(host, secure, scripts, ancestors, additions)
    headers = Headers(
        (
            ("Content-Type", "text/html; charset=UTF-8"),
            ("Content-Security-Policy", policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "same-origin"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        )
    )
    ancestors += dict(additions).get("frame-ancestors", ())
    # X-Frame-Options cannot list origins; browsers that know frame-ancestors ignore it
    if ancestors in ((), ("'self'",)):
        headers["X-Frame-Options"] = "SAMEORIGIN" if ancestors else "DENY"
    if secure:
        headers["Strict-Transport-Security"] = strict_transport
    return headers


class SecurityHeaders(OriginCheck):
    """A handler whose responses have the security headers, errors included."""

    #: Sources to allow besides those of the site, by directive of the Content-Security-Policy:
    #: {"form-action": ("https://id.example.com",)}. A subclass inherits or replaces it.
    content_security: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType({})
    _additions: ClassVar[Additions] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """Check `content_security`; raises ValueError with a sentence."""
        super().__init_subclass__(**options)
        cls._additions = checked(cls.__qualname__, cls.content_security)

    def clear(self) -> None:
        """Begin the response with the security headers (`HttpServer` adds the date)."""
        request, web = self.request, self.web
        headers = _security_headers(
            request.host,
            request.protocol == "https",
            web.strict_transport,
            web.socket_io_script.sources,
            web.frame_ancestors,
            self._additions,
        ).copy()
        if web.trusted_origins:
            headers.update(cors_headers(request.headers, web.trusted_origins))
        headers["X-Request-ID"] = request.headers["X-Request-ID"]
        begin_response(self, headers)
        self.set_default_headers()

    def head(self, *arguments: Any, **named: Any) -> Any:
        """Answer as GET does; the server leaves the body out (RFC 9110, 9.3.2)."""
        get: Callable[..., Any] = self.get
        return get(*arguments, **named)

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer an error; with 503 if the process has no file descriptor left."""
        if out_of_descriptors(kwargs.get("exc_info", (None, None))[1]):
            status_code = 503
        super().send_error(status_code, **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log errors that many clients can cause to rate-limited logs, and others as usual."""
        services, request = self.services, self.request
        line = f"{str(request.method)[:20]} {request.path[:100]!r}: {str(value)[:300]}"
        if isinstance(value, HTTPError) and value.status_code < 500:
            services.client_log.add(request.remote_ip, line)
        elif out_of_descriptors(value) or (
            isinstance(value, HTTPError) and value.status_code == 503
        ):
            services.outage_log.add(request.remote_ip, line)
        else:
            super().log_exception(typ, value, tb)


class StaticHandler(SecurityHeaders, StaticFileHandler):
    """Serves /static/ with the security headers; pages of other sites may load the files."""

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Cross-Origin-Resource-Policy", "cross-origin")

    @classmethod
    def make_static_url(
        cls, settings: dict[str, Any], path: str, include_version: bool = True
    ) -> str:
        """Return the address of a static file, with the base path; `static_url` calls this."""
        base: str = settings.get("base_path", "")
        return base + super().make_static_url(settings, path, include_version)

    def parse_url_path(self, url_path: str) -> str:
        """Refuse a NUL, which no file name has."""
        if "\0" in url_path:
            raise HTTPError(404)
        return super().parse_url_path(url_path)
