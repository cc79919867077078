"""The Tornado application: from a request to its handler, and the access log."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import RequestHandler

from app.common.log_context import RequestIds
from app.services import Services
from app.transport.http.dispatcher import Dispatcher
from app.web.base_path import OF_THE_HOST, AddSlashHandler, path_below
from app.web.cors import cors_headers
from app.web.early_answers import answer_early
from app.web.forwarded import apply_forwarded
from app.web.not_found import NotFoundHandler
from app.web.route_names import RouteNames, known_method
from app.web.security_headers import StaticHandler
from app.web.web_parts import WebParts

log = logging.getLogger("latchkey.access")

SOCKET_PATHS = ("/socket.io/", "/socket.io")
_Work = Coroutine[Any, Any, None]
Trace = Callable[[RequestHandler, str, _Work], _Work]


class WebApplication(Dispatcher):
    """Tornado's application with the settings and the rules of this one."""

    def __init__(
        self,
        services: Services,
        web: WebParts,
        routes: Sequence[Any],
        *,
        socket_handler: type[RequestHandler],
        socket_options: dict[str, Any],
        template_paths: Sequence[Path] = (),
        static_path: Path | None = None,
        trace: Trace | None = None,
    ) -> None:
        """`routes` are as Tornado takes them; the folders are those of templates and /static/.

        `socket_handler` is the class that serves `SOCKET_PATHS`, and `socket_options` what its
        `initialize` takes. `trace` puts the work on a request into a span; its second argument is
        the route's name.
        """
        settings = services.settings
        self.route_names = RouteNames(
            [(r"/socket\.io/?", socket_handler), *routes, (r"/static/(.*)", StaticHandler)],
            settings.base_path,
        )
        folders = {
            "template_path": os.pathsep.join(map(str, template_paths)) or None,
            "static_path": static_path,
        }
        super().__init__(
            list(routes),
            services=services,
            web=web,
            default_handler_class=NotFoundHandler,
            static_handler_class=StaticHandler,
            base_path=settings.base_path,
            login_url=settings.base_path + "/login",
            cross_origin_protection=True,
            trusted_origins=web.trusted_origins,
            log_function=self._log_access if settings.access_log else self._log_request,
            # of plain WebSockets
            websocket_max_message_size=settings.max_message_size,
            websocket_ping_interval=settings.ping_interval,
            websocket_ping_timeout=min(settings.ping_interval, settings.ping_timeout),
            **{name: str(path) for name, path in folders.items() if path is not None},
        )
        self._trace = trace
        self.around = None if trace is None else self._traced
        self._web = web
        self._socket_handler, self._socket_options = socket_handler, socket_options
        self._trusted_proxies = settings.trusted_proxies
        self._base_path = settings.base_path
        self._request_ids = RequestIds()

    def find_handler(self, request: HTTPServerRequest, **options: Any) -> Any:
        """Find the handler of a request whose address and scheme are those of the client."""
        from_proxy = apply_forwarded(request, self._trusted_proxies)
        given = request.headers.get("X-Request-ID") if from_proxy else None
        request.headers["X-Request-ID"] = self._request_ids.of(given)
        if self._trace is not None and not from_proxy:
            request.headers.pop("traceparent", None)
        early = answer_early(request, self._web.hosts, self._web.trusted_origins)
        if early is not None:
            return self.get_handler_delegate(request, early)
        if self._base_path:
            return self._find_below(request, from_proxy)
        return self._route(request)

    def _route(self, request: HTTPServerRequest) -> Any:
        """Find the handler of a request by its path alone.

        Tornado's routes take a handshake 25,000 of its 860,000 instructions (row `handshake`).
        """
        if request.path in SOCKET_PATHS:
            return self.get_handler_delegate(request, self._socket_handler, self._socket_options)
        return super().find_handler(request)

    def _find_below(self, request: HTTPServerRequest, from_proxy: bool) -> Any:
        """Find the handler of a request by its path below the base path."""
        path = path_below(self._base_path, request, from_proxy=from_proxy)
        if path is None and request.path in OF_THE_HOST:
            path = request.path
        if path is None:
            itself = request.path == self._base_path
            return self.get_handler_delegate(
                request, AddSlashHandler if itself else NotFoundHandler
            )
        whole, request.path = request.path, path
        try:
            return self._route(request)
        finally:
            request.path = whole  # handlers see the path of the browser

    def reverse_url(self, name: str, *args: Any) -> str:
        """Return the address of a named route, with the base path."""
        return self._base_path + super().reverse_url(name, *args)

    def refusal_headers(self, headers: HTTPHeaders) -> dict[str, str]:
        """Return headers for an answer that comes before a handler, such as 413."""
        return cors_headers(headers, self._web.trusted_origins)

    def _traced(self, handler: RequestHandler, work: _Work) -> _Work:
        assert self._trace is not None
        route = self.route_names.find(type(handler), handler.request.path)
        return self._trace(handler, route, work)

    def _log_access(self, handler: RequestHandler) -> None:
        """Log every request, without its query, and do what `_log_request` does."""
        request = handler.request
        log.info(
            "%s %s status=%d seconds=%.4f address=%s",
            str(request.method)[:20],
            ascii(request.path[:200]),
            handler.get_status(),
            request.request_time(),
            request.remote_ip,
        )
        self._log_request(handler)

    def _log_request(self, handler: RequestHandler) -> None:
        """Count every request; log those that failed by a fault of the server."""
        services: Services = handler.settings["services"]
        status, request = handler.get_status(), handler.request
        route = self.route_names.find(type(handler), request.path)
        method = known_method(request.method)
        services.counters.request(status, method, route, request.request_time())
        if status == 503:
            services.outage_log.add(
                request.remote_ip, f"503 {request.method} {request.path[:200]!r}"
            )
        elif status >= 500:
            log.warning("%d %s %r %s", status, request.method, request.path, request.remote_ip)
