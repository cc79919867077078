"""Commands to one Redis, over a connection that is made again when it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import Any

from app.common.background import Background
from app.common.histogram import Histogram
from app.stores.errors import StoreUnavailable
from app.stores.redis.address import Address
from app.stores.redis.connection import Connection, Word, pack
from app.stores.redis.failure import sentence
from app.stores.redis.login import handshake
from app.stores.redis.pending import PendingCommands
from app.stores.redis.reply_error import ReplyError
from app.stores.redis.reply_timeout import REPLY_TIMEOUT, ReplyTimeout
from app.stores.redis.script import Script
from app.stores.redis.subscriptions import Subscriber, Subscriptions

log = logging.getLogger("latchkey.redis")

# with REPLY_TIMEOUT, a command is answered within two seconds
_RECONNECT_TIMEOUT = 0.5  # seconds that commands wait once the connection is lost
_CONNECT_TIMEOUT = 2.0  # seconds
_CLOSE_TIMEOUT = 0.5  # seconds
_SENTINEL_INTERVAL = 10.0  # seconds after which the Sentinels are asked again
_MIN_RETRY_INTERVAL, _MAX_RETRY_INTERVAL = 0.02, 1.0  # seconds between two attempts to connect
_NOT_A_MASTER = ("READONLY", "LOADING", "MASTERDOWN", "NOAUTH")
_REMEDIES = (
    ("OOM", "; give it more memory (maxmemory)"),
    ("NOPERM", "; let its user run scripts, publish, and write keys latchkey:*"),
    ("MISCONF", "; see to its disk"),
    ("NOREPLICAS", "; start its replicas, or see why they lag"),
)


class RedisClient:
    """A client of one Redis, on one connection, with commands and published messages.

    A command fails with StoreUnavailable within two seconds, whatever the Redis does. It is never
    sent twice; if its reply was lost, whether it took effect is unknown.

    redis-py's asyncio client needs 49 µs of CPU for a GET of fifty clients, this one 2 µs (Python
    3.11, hiredis 3.5, redis-py 8.1). redis-py also receives published messages on a connection of
    their own, and `RecordCache` depends on their order among the replies.
    """

    def __init__(self, url: str) -> None:
        """Raises InvalidRedisUrl. It connects with the first command, or with `open`."""
        self._address = Address(url)
        self.shown = self._address.shown
        self._subscriptions = Subscriptions()
        self._pending = PendingCommands()
        self._connection: Connection | None = None
        self._lost: asyncio.Future[None] | None = None
        self._background = Background()
        self._connecting: asyncio.Task[None] | None = None
        self._timeout: ReplyTimeout | None = None
        #: From the write of a batch of commands to its last reply.
        self.round_trips = Histogram()
        #: Connections that were made, and attempts that failed.
        self.connects = self.connect_errors = 0
        self._failure = "it was not asked yet"
        self._misconfigured = False  # whether only an operator can help
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether there is a connection, so that published messages arrive."""
        return self._connection is not None

    def subscribe(self, *subscribers: Subscriber) -> None:
        """Tell these of connections and of messages from now on."""
        for subscriber in subscribers:
            channels = self._subscriptions.add(subscriber)
            if self._connection is not None and channels:
                self._connection.send_unanswered(pack(("SUBSCRIBE", *channels)))

    # -- commands --

    async def execute(self, *words: Word) -> Any:
        """Send a command and return its reply; raises StoreUnavailable."""
        return await self.execute_packed(pack(words))

    async def execute_packed(self, command: bytes, *, change: bool = False) -> Any:
        """Send a packed command and return its reply; raises StoreUnavailable."""
        try:
            return await self.call(command, change)
        except (ReplyError, ConnectionError) as error:
            raise self._unavailable(error) from None

    async def run(
        self, script: Script, keys: tuple[Word, ...], *args: Word, change: bool = False
    ) -> Any:
        """Run a script and return its reply; raises StoreUnavailable.

        `change` is whether it makes a change that must survive a failover: see `call`.
        """
        try:
            return await self.call(script.evalsha(keys, args), change)
        except (ReplyError, ConnectionError) as error:
            return await self.retry(error, script.eval(keys, args), change=change)

    async def retry(self, error: Exception, command: bytes, *, change: bool = False) -> Any:
        """Handle an error of `call` with a script: send `command`, its EVAL, after NOSCRIPT.

        Returns the reply to it; raises StoreUnavailable for other errors.
        """
        if isinstance(error, ReplyError) and error.code == "NOSCRIPT":
            return await self.execute_packed(command, change=change)
        raise self._unavailable(error) from None

    def call(self, command: bytes, change: bool = False) -> asyncio.Future[Any]:
        """Send a packed command; its future fails with ReplyError or ConnectionError.

        A change is answered when as many replicas have it as the URL's `wait_replicas` says.
        """
        if self._connection is not None:
            return self._connection.call(command, change)
        reply = self._pending.add(command, change)
        if not self._closed:
            self._begin()
        return reply

    def send(self, *words: Word) -> bool:
        """Send a command and ignore its reply; return whether there is a connection."""
        if self._connection is None:
            return False
        self._connection.send(pack(words))
        return True

    def publish(self, channel: str, message: bytes) -> bool:
        """Publish a message; return whether there is a connection."""
        return self.send("PUBLISH", channel, message)

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        if not isinstance(error, ReplyError):
            return StoreUnavailable(
                f"{self.shown} does not answer ({self._failure}); sessions are kept, try again"
            )
        if error.code in _NOT_A_MASTER and self._connection is not None:
            # with Sentinels, the next connection goes to another Redis
            self._connection.abort()
        return StoreUnavailable(
            f"{self.shown} refused: {error.sentence}{dict(_REMEDIES).get(error.code, '')}"
        )

    # -- the connection --

    async def open(self) -> None:
        """Connect for the first time; raises StoreUnavailable with the reason."""
        self._begin()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _CONNECT_TIMEOUT + 1
        while self._connection is None:
            if self._misconfigured or loop.time() > deadline:
                raise StoreUnavailable(
                    f"{self.shown} cannot be used ({self._failure}); start it, or correct --store"
                )
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Send the commands made so far and disconnect, for good."""
        if self._closed:
            return
        self._closed = True
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    # its reply comes after those of the last commands
                    await connection.call(pack(("PING",)))
        await self._background.stop()
        if self._connection is not None and self._lost is not None:
            self._connection.abort()
            await asyncio.wait({self._lost}, timeout=_CLOSE_TIMEOUT)
        self._pending.fail()
        await self._address.close()

    def _begin(self) -> None:
        if self._connecting is None and not self._closed:
            self._pending.accept_for(_CONNECT_TIMEOUT)
            self._connecting = self._background.start(self._stay_connected())

    async def _stay_connected(self) -> None:
        interval = _MIN_RETRY_INTERVAL
        while True:
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT):
                    lost = await self._connect()
            except Exception as error:
                self.connect_errors += 1
                self._misconfigured = isinstance(error, ReplyError | StoreUnavailable)
                self._failed(sentence(error))
                await asyncio.sleep(interval * random.uniform(0.7, 1.3))  # noqa: S311
                interval = min(interval * 2, _MAX_RETRY_INTERVAL)
            else:
                interval = _MIN_RETRY_INTERVAL
                await self._stay(lost)

    async def _stay(self, lost: asyncio.Future[None]) -> None:
        """Wait until the connection is lost; leave a Redis that is the primary no more."""
        while not lost.done():
            # a cancellation does not reach `lost`
            await asyncio.wait({lost}, timeout=_SENTINEL_INTERVAL)
            if not lost.done() and await self._address.has_moved() and self._connection is not None:
                log.warning("%s: the Sentinels name another primary, connecting to it", self.shown)
                self._connection.abort()

    def _failed(self, why: str) -> None:
        """Note why there is no connection; log it once for each reason."""
        if why != self._failure:
            log.warning("%s cannot be used: %s", self.shown, why)
        self._failure = why

    async def _connect(self) -> asyncio.Future[None]:
        """Connect; return a future that is done when the connection is lost."""
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection = Connection(
            on_push=self._subscriptions.dispatch,
            on_lost=lambda connection: self._disconnected(connection, lost),
            round_trips=self.round_trips,
            wait_replicas=self._address.wait_replicas,
        )
        try:
            await self._address.connect(connection)
            await handshake(connection, self._address, self._subscriptions.channels)
        except BaseException:
            connection.abort()
            raise
        self._lost, self._connection = lost, connection
        self._connected(connection)
        return lost

    def _connected(self, connection: Connection) -> None:
        self.connects += 1
        if self._failure:
            log.info("connected to %s", self.shown)
        self._failure = ""
        self._subscriptions.connected()
        self._pending.send(connection)
        self._timeout = ReplyTimeout(connection, lambda: self._give_up(connection))
        self._timeout.start()

    def _disconnected(self, connection: Connection, lost: asyncio.Future[None]) -> None:
        if self._connection is connection:
            self._connection = None
            if self._timeout is not None:
                self._timeout.stop()
            if not self._closed:
                self._failed(self._failure or "the connection was lost")
                self._pending.accept_for(_RECONNECT_TIMEOUT)
            self._subscriptions.disconnected()
        if not lost.done():
            lost.set_result(None)

    def _give_up(self, connection: Connection) -> None:
        self._failure = f"no reply for {REPLY_TIMEOUT:g} s"
        log.warning("%s: %s, connecting again", self.shown, self._failure)
        connection.abort()
