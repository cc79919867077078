"""A running application, from the first listening socket to the last close."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Protocol

from app.common.background import cancel_all
from app.module_start_and_stop import StartAndStop
from app.ops.control import Command, ControlSocket
from app.ops.data_folder import FolderLock
from app.ops.key_follower import KeyFollower
from app.ops.listening import Listening, listen
from app.services import Services
from app.stores import StoreError
from app.transport.http.server import HttpServer
from app.transport.socketio.server import CLIENT_CLOSE_TIMEOUT
from app.web.application import WebApplication
from app.web.start_warnings import cookie_warning, hosts_warning

log = logging.getLogger("latchkey")

_CLIENT_TIMEOUT = 30.0  # seconds that a client has for a request's headers, and for its body
_MAX_HEADER_SIZE = 16_384  # bytes
_REQUESTS_TIMEOUT = 2.5  # seconds that requests in progress have when the process stops
_BACKGROUND_TIMEOUT = 0.5  # seconds that coroutines of `services.background` have to end
_PRUNE_INTERVAL = 600.0  # seconds between two prunings of the audit trail
_MAIL_TIMEOUT = 2.0  # seconds that mails have to be handed over
_CLOSE_TIMEOUT = 1.0  # seconds in which expiry and the stores have to close


class Cluster(Protocol):
    """The connection to the other processes of the site."""

    async def start(self) -> None:
        """Join the other processes."""

    async def connect(self) -> None:
        """Reach the stores without joining; call `stop` afterwards, too."""

    async def stop(self) -> None:
        """Leave the other processes."""


class Tracing(Protocol):
    """The traces of what clients ask for."""

    async def stop(self, seconds: float) -> None:
        """Send what waits to be sent, for this time at most."""


class Application:
    """The parts of one application, and the order in which they start, drain and stop."""

    def __init__(
        self,
        services: Services,
        web: WebApplication,
        *,
        folder_lock: FolderLock,
        modules: StartAndStop,
        control: ControlSocket,
        key_follower: KeyFollower,
        commands: Mapping[str, Command],
        cluster: Cluster | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """`modules` starts and stops the modules; `cluster` is None for a process alone.

        `commands` are those of the control socket, which a command may also call here.
        """
        self.commands = commands
        self.services = services
        self.web = web
        self.cluster = cluster
        self.tracing = tracing
        self.http_server: HttpServer | None = None
        self._folder_lock = folder_lock
        self._modules = modules
        self._control = control
        self._key_follower = key_follower
        self._listening = Listening([])

    async def start(self, listening: Listening | None = None) -> str:
        """Listen, start the periodic callbacks and return the first URL.

        `listening` are sockets that listen already, in place of those of the settings.
        Call `stop` afterwards, even if it fails. Raises OSError, StoreUnavailable if a store on a
        network cannot be used, ValueError if another process has the same number, and StartFailed
        if a module cannot start.
        """
        settings = self.services.settings
        for warning in (hosts_warning(settings), cookie_warning(settings)):
            if warning is not None:
                log.warning("%s", warning)
        if self.cluster is not None:
            await self.cluster.start()
        self.services.audit_trail.start()
        await self._modules.start(self.services)
        # the others wait until this process accepts a new key, so it looks after it is known
        await self._key_follower.look()
        self._key_follower.start()
        self._listening = listening or listen(settings)
        self.http_server = HttpServer(
            self.web,
            max_body_size=settings.max_message_size,
            max_header_size=_MAX_HEADER_SIZE,
            header_timeout=_CLIENT_TIMEOUT,
            body_timeout=_CLIENT_TIMEOUT,
            refusal_headers=self.web.refusal_headers,
            unflushed=self.services.socket_server.engine.unflushed,
        )
        sockets, kept = self._listening.sockets, self._listening.inherited
        await self.http_server.listen(sockets, kept=kept)
        await self._control.start()
        self.services.expiry.start()
        self.services.loop_lag.start()
        self.services.site_counts.start()
        self.services.stall_log.start()
        self.services.presence.start()
        self.services.every(
            _PRUNE_INTERVAL, self.services.audit_trail.prune, True, name="latchkey.audit_trail"
        )
        self.services.role_sockets.start()
        return self.addresses[0]

    async def connect(self) -> None:
        """Reach the stores without serving anybody, for a command; call `stop` afterwards.

        Raises StoreUnavailable if a store on a network cannot be used.
        """
        if self.cluster is not None:
            await self.cluster.connect()
        self.services.audit_trail.start()

    @property
    def addresses(self) -> list[str]:
        """The URLs that it serves, with --base-path; that of a Unix socket is unix:PATH."""
        return self._listening.addresses(self.services.settings.base_path)

    async def drain(self, skip: asyncio.Event) -> None:
        """Refuse handshakes and close the open sockets in batches, while pages are served.

        `/readyz` answers 503 from now on. Returns when all are closed, or when `skip` is set.
        """
        services = self.services
        services.stopping = True
        if self.http_server is not None:
            self.http_server.drain()
        spread = services.settings.drain_time
        closing = asyncio.ensure_future(services.connections.close_all(spread=spread))
        skipping = asyncio.ensure_future(skip.wait())
        await asyncio.wait({closing, skipping}, return_when=asyncio.FIRST_COMPLETED)
        await cancel_all({closing, skipping})

    async def stop(self, skip: asyncio.Event | None = None) -> None:
        """Accept no more connections, close the open ones, commit, and close the stores.

        Handlers of sockets may run for --drain-time, and `on_stop` of each module for
        --stop-timeout; they are cut off soon after `skip` is set.
        """
        services = self.services
        services.stopping = True
        self._listening.remove_files()
        await self._control.stop()
        await self._key_follower.stop()
        if self.http_server is not None:
            await self.http_server.stop_listening()
        await services.jobs.stop()
        services.expiry.stop()
        await services.expiry.finish(_CLOSE_TIMEOUT)
        services.loop_lag.stop()
        await services.site_counts.stop()
        services.stall_log.stop()
        await services.connections.close_all()
        await services.device_watchers.stop()
        closed = time.monotonic()
        if self.http_server is not None and not await self.http_server.close(_REQUESTS_TIMEOUT):
            log.warning("some requests were cut off after %g s", _REQUESTS_TIMEOUT)
        await self._finish_handlers(closed, skip)
        await services.presence.stop()
        await services.role_sockets.stop()
        await services.socket_server.shutdown()
        await self.web.tasks.stop()
        await services.socket_server.tasks.stop()
        await services.stop(seconds=_BACKGROUND_TIMEOUT)
        await services.account_mail.stop(_MAIL_TIMEOUT)
        await self._modules.stop(services, seconds=services.settings.stop_timeout, skip=skip)
        await services.jobs.stop()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._close_stores()
        except (TimeoutError, StoreError) as error:
            log.error("the stores were not closed in good order: %s", str(error) or "too slow")
        if self.tracing is not None:
            await self.tracing.stop(
                0.0 if skip and skip.is_set() else services.settings.stop_timeout
            )

    async def _finish_handlers(self, began: float, skip: asyncio.Event | None) -> None:
        """Wait for the handlers of the sockets that were closed at `began`, a monotonic time."""
        server = self.services.socket_server
        passed = time.monotonic() - began
        seconds = max(self.services.settings.drain_time - passed, CLIENT_CLOSE_TIMEOUT)
        await server.finish(seconds, skip)
        await server.cut_off(time.monotonic() - began)

    async def _close_stores(self) -> None:
        """Write what is still to be written, and close the databases."""
        services = self.services
        try:
            await services.stop(seconds=0.0)
            await services.sessions.lifetimes.activity.close()
        finally:
            await services.metrics.stop()
            await services.readiness.stop()
            if self.cluster is not None:
                await self.cluster.stop()
            await services.audit_trail.stop()
            await services.sessions.store.close()
            await services.accounts.close()
            await services.database.close()
            self._folder_lock.release()
