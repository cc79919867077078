"""The one place where the parts meet: settings in, a running application out."""

from __future__ import annotations

import asyncio
import errno
import importlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import tornado.web
from tornado.httputil import HTTPServerRequest
from tornado.netutil import bind_sockets

import handlers
from app.accounts import Accounts
from app.assets import client_script
from app.common.background import cancel_all
from app.common.rate_limited_log import Complaints
from app.devices.devices import Devices
from app.extensions import add_module
from app.limits import Limits
from app.ops import data_folder
from app.ops.audit import Audit
from app.ops.keys import check_last_key, signing_keys
from app.ops.metrics import Metrics
from app.ops.readiness import Readiness
from app.services import Services
from app.sessions.clock import Clock
from app.sessions.expiry import Expiry
from app.sessions.manager import Sessions
from app.settings import Settings
from app.sockets.connections import Connections
from app.sockets.handshake import HandshakeHandler
from app.stores import SessionStore, StoreError
from app.stores.counted import CountedStore, StoreCounts
from app.stores.memory import MemoryStore
from app.stores.sqlite.store import SqliteStore
from app.transport import SocketServer
from app.transport.engineio.server import CLIENT_CLOSE_TIMEOUT
from app.transport.http.dispatcher import Dispatcher
from app.transport.http.server import HttpServer
from app.web.cookies import SessionCookie
from app.web.cross_site import cookie_warning, hosts_warning
from app.web.early_answers import answer_early
from app.web.forwarded import apply_forwarded
from app.web.handler import BaseHandler
from app.web.hosts import Hosts
from app.web.known_device import KnownDevice
from app.web.origin import Origins, sharing
from app.web.security_headers import StaticHandler
from handlers.session import SessionData

if TYPE_CHECKING:
    from app.cluster.cluster import Shared

log = logging.getLogger("latchkey")

ROOT = Path(__file__).resolve().parent.parent
_SLOW_CLIENT = 30.0  # seconds that a client has for a request's headers, and for its body
_LARGEST_HEADERS = 16_384  # bytes
_FAREWELL = 2.5  # seconds that requests in hand have when the process stops
_CLOSE_TIMEOUT = 1.0  # seconds in which expiry and the stores have to close


class NotFoundHandler(BaseHandler[Any]):
    """Answers every path that no handler serves."""

    async def prepare(self) -> None:
        await super().prepare()
        raise tornado.web.HTTPError(404)


class Application(Dispatcher):
    """The web application with its services, from the first listening socket to the last close."""

    def __init__(
        self,
        services: Services,
        routes: Sequence[Any],
        *,
        shared: Shared | None = None,
        **options: Any,
    ) -> None:
        super().__init__(list(routes), services=services, **options)
        self.services = services
        self._shared = shared
        self._hosts = Hosts(services.settings.allowed_hosts)
        self._server: HttpServer | None = None

    def find_handler(self, request: HTTPServerRequest, **options: Any) -> Any:
        """Find the handler of a request whose address and scheme are those of the client."""
        apply_forwarded(request, self.services.settings.trusted_proxies)
        early = answer_early(request, self._hosts, self.settings["trusted_origins"])
        if early is not None:
            return self.get_handler_delegate(request, early)
        return super().find_handler(request, **options)

    async def start(self) -> str:
        """Listen and begin the periodic callback; return the URL.

        Raises OSError, StoreUnavailable where a store on a network cannot be used, and
        ValueError where another process has the same number.
        """
        settings = self.services.settings
        for warning in (hosts_warning(settings), cookie_warning(settings)):
            if warning is not None:
                log.warning("%s", warning)
        if self._shared is not None:
            await self._shared.start()
        try:
            sockets = bind_sockets(settings.port, settings.host)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            remedy = "--port, or stop the program that has it" if taken else "--host or --port"
            raise OSError(
                f"cannot listen on {settings.host} port {settings.port} ({error.strerror}); "
                f"choose another {remedy}"
            ) from error
        self._server = HttpServer(
            self,
            max_body_size=settings.max_message_size,
            max_header_size=_LARGEST_HEADERS,
            header_timeout=_SLOW_CLIENT,
            body_timeout=_SLOW_CLIENT,
            refusal_headers=lambda headers: sharing(headers, self.settings["trusted_origins"]),
        )
        await self._server.listen(sockets)
        self.services.expiry.start()
        self.services.metrics.start()
        host, port = sockets[0].getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def drain(self, hurry: asyncio.Event) -> None:
        """Take no new sockets and send the open ones away in batches, while pages are served.

        `/readyz` says no from now on. Returns when all were told, or when `hurry` is set.
        """
        services = self.services
        services.stopping = True
        if self._server is not None:
            self._server.drain()
        spread = services.settings.drain_time
        work = asyncio.ensure_future(services.connections.close_all(spread=spread))
        waiting = asyncio.ensure_future(hurry.wait())
        await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
        await cancel_all({work, waiting})

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """Accept no more connections, close the open ones, commit, and close the stores.

        Handlers of sockets may run for --drain-time; they are cut off soon when `hurry` is set.
        """
        services = self.services
        services.stopping = True
        if self._server is not None:
            await self._server.stop_listening()
        services.expiry.stop()
        await services.expiry.finish(_CLOSE_TIMEOUT)
        services.metrics.stop()
        await services.connections.close_all()
        await services.devices.stop()
        closed = time.monotonic()
        if self._server is not None and not await self._server.close(_FAREWELL):
            log.warning("some requests were cut off after %g s", _FAREWELL)
        await self._finish_handlers(closed, hurry)
        await services.socket_server.shutdown()
        await self.tasks.stop()
        await services.socket_server.eio.tasks.stop()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._let_go()
        except (TimeoutError, StoreError) as error:
            log.error("the stores were not closed in good order: %s", error or "too slow")

    async def _finish_handlers(self, began: float, hurry: asyncio.Event | None) -> None:
        """Wait for the handlers of the sockets that were closed at `began`, a monotonic time."""
        eio = self.services.socket_server.eio
        passed = time.monotonic() - began
        seconds = max(self.services.settings.drain_time - passed, CLIENT_CLOSE_TIMEOUT)
        await eio.finish(seconds, hurry)
        await eio.cut_off(time.monotonic() - began)

    async def _let_go(self) -> None:
        """Write what is still to be written, and close the databases."""
        services = self.services
        try:
            await services.stop(seconds=_CLOSE_TIMEOUT / 2)
            await services.sessions.lifetimes.close()
        finally:
            await services.readiness.stop()
            if self._shared is not None:
                await self._shared.stop()
            await services.sessions.store.close()
            await services.accounts.close()
            services.let_go_of_folder()


def make_app(
    settings: Settings,
    *,
    clock: Callable[[], float] | None = None,
    store: SessionStore | None = None,
    modules: Sequence[str] | None = None,
    data_type: type[msgspec.Struct] = SessionData,
) -> Application:
    """Build the application from its settings; call it on a running loop.

    `clock`, `store`, `modules` and `data_type` are for tests and unusual forks. Raises
    FileOwned, StoreUnavailable, ValueError or OSError with a sentence that says what to do.
    """
    clock = clock or Clock()
    settings.make_data_dir()
    folder = data_folder.use(settings.data_dir)
    keys = signing_keys(settings)
    check_last_key(settings, keys)
    cookie = SessionCookie(settings, keys)
    shared = _share(settings) if settings.shared else None
    counts = StoreCounts()
    opened = store or (shared.store if shared else _open_store(settings))
    sessions: Sessions[Any] = Sessions(
        CountedStore(opened, counts),
        data_type,
        idle_timeout=settings.session_idle_timeout,
        max_age=settings.session_max_age,
        new_timeout=settings.new_session_timeout,
        clock=clock,
        counts=counts,
        connected=lambda session_id: connections.count(session_id) > 0,
    )
    server = SocketServer(settings, client_manager=shared.rooms if shared else None)
    connections = Connections(server, on_session_end=settings.on_session_end)
    presence = shared.know_connections(connections, keys) if shared else connections
    accounts = Accounts(settings)
    services = Services(
        settings=settings,
        sessions=sessions,
        cookie=cookie,
        accounts=accounts,
        data_folder=folder,
        limits=Limits(settings),
        socket_server=server,
        connections=connections,
        expiry=Expiry(sessions, connections, interval=settings.expiry_interval),
        complaints=Complaints(logging.getLogger("latchkey.clients")),
        outages=Complaints(logging.getLogger("latchkey.outages")),
        metrics=Metrics(counts, server, connections),
        readiness=Readiness({"store": sessions.works, "database": accounts.answers}),
        devices=Devices(sessions, presence),
        known_device=KnownDevice(cookie, settings.cookie_name, keys),
        audit=Audit(),
    )
    server.event_failed = services.metrics.event_failed
    if isinstance(clock, Clock):
        clock.on_step += [sessions.lifetimes.follow_step, lambda _: services.expiry.hold()]
    sessions.on_end += [
        connections.close_session,
        services.metrics.ended,
        services.audit.ended,
    ]
    connections.on_change.append(services.devices.connections_changed)
    services.on_login += [services.audit.signed_in, services.devices.signed_in]
    if shared:
        shared.join(services)
    routes: list[Any] = [
        (r"/socket\.io/?", HandshakeHandler, {"server": server}),
    ]
    for name in modules if modules is not None else handlers.modules:
        routes += add_module(name, services)
    script = client_script(ROOT / "static")
    return Application(
        services,
        routes,
        shared=shared,
        socket_io_script=script,
        script_sources=script.sources,
        default_handler_class=NotFoundHandler,
        static_handler_class=StaticHandler,
        static_path=str(ROOT / "static"),
        template_path=str(ROOT / "handlers" / "templates"),
        login_url="/login",
        cross_origin_protection=True,
        trusted_origins=Origins(settings.trusted_origins),
        frame_ancestors=settings.frame_ancestors,
        log_function=_log_request,
        # of plain WebSockets
        websocket_max_message_size=settings.max_message_size,
        websocket_ping_interval=settings.ping_interval,
        websocket_ping_timeout=min(settings.ping_interval, settings.ping_timeout),
    )


def _share(settings: Settings) -> Shared:
    try:
        module = importlib.import_module("app.cluster.cluster")
    except ImportError as error:
        raise ValueError(
            f"--store redis needs the package {error.name}; run pip install -e '.[redis]'"
        ) from None
    shared: Shared = module.Shared(settings.store, settings.process_number)
    return shared


def _open_store(settings: Settings) -> SessionStore:
    if settings.store == "memory":
        return MemoryStore()
    return SqliteStore(settings.data_dir / "sessions.sqlite3")


def _log_request(handler: tornado.web.RequestHandler) -> None:
    """Count every request, and log those that failed on our side, not a client's errors."""
    services: Services = handler.settings["services"]
    status, request = handler.get_status(), handler.request
    services.metrics.request(status)
    if status == 503:
        services.outages.add(request.remote_ip, f"503 {request.method} {request.path[:200]!r}")
    elif status >= 500:
        logging.getLogger("latchkey.access").warning(
            "%d %s %r %s", status, request.method, request.path, request.remote_ip
        )
