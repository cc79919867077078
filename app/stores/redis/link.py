"""A lasting link to one Redis, over connections that come and go."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

from app.common.background import Background
from app.common.guard import logged
from app.stores.errors import StoreUnavailable
from app.stores.futures import resolve
from app.stores.redis import scripts
from app.stores.redis.address import Address
from app.stores.redis.greeting import greet
from app.stores.redis.wire import ReplyError, Wire, pack

log = logging.getLogger("latchkey.redis")

_SLOWEST_REPLY = 1.0  # seconds; with the next two a request is answered within two
_GRACE = 0.5  # seconds that commands wait for a connection that has just been lost
_CHECK_EVERY = 0.2  # seconds
_SECOND_LOOK = 0.05  # seconds
_SLOWEST_CONNECT = 2.0  # seconds, of which nobody waits more than the grace
_LONGEST_PAUSE = 1.0  # seconds between two attempts


class Link:
    """Commands to a Redis and what it publishes, on one connection that is made again when lost.

    A command fails with StoreUnavailable within two seconds, whatever the Redis does; whether
    one that was sent took effect is then unknown. It is never sent a second time.
    """

    def __init__(self, url: str) -> None:
        """Raises NoRedis. It connects with the first command, or with `open`."""
        self._address = Address(url)
        self.shown = self._address.shown
        #: called when a connection is ready; what it sends goes before everybody else's commands
        self.on_up: list[Callable[[], None]] = []
        #: called when the connection is lost; what was published from then on is not heard
        self.on_down: list[Callable[[], None]] = []
        #: whether there is a connection, and so what is published is heard
        self.up = False
        #: send one packed command; fails with ReplyError or ConnectionError
        self.call: Callable[[bytes], asyncio.Future[Any]] = self._call_early
        self._listeners: dict[bytes, Callable[[bytes, bytes], None]] = {}
        self._wire: Wire | None = None
        self._lost: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._early: list[tuple[bytes, asyncio.Future[Any]]] = []
        self._background = Background()
        self._watch_timer: asyncio.TimerHandle | None = None
        self._give_up: asyncio.TimerHandle | None = None
        self._patient = True  # whether commands may wait for a connection
        self._why = "it was not asked yet"
        self._hopeless = False  # whether somebody has to do something
        self._suspect: Wire | None = None  # on which replies do not come in time
        self._closed = False

    # -- commands --

    async def run(self, command: bytes, script: scripts.Script | None = None) -> Any:
        """Send one packed command and return its reply; raises StoreUnavailable.

        `script` is the one that the command calls.
        """
        try:
            return await self.call(command)
        except (ReplyError, ConnectionError) as error:
            return await self.recover(error, command, script)

    async def recover(
        self, error: Exception, command: bytes, script: scripts.Script | None = None
    ) -> Any:
        """Do what can be done about an error of `call`: return a reply or raise StoreUnavailable.

        It is for those who await `call` themselves because they are in a hurry.
        """
        if not isinstance(error, ReplyError):
            raise self._silent() from None
        if script is None or error.code != "NOSCRIPT":
            raise self._refused(error) from None
        self.teach()
        return await self.run(command)

    def teach(self) -> None:
        """Make it know the scripts again, which somebody made it forget."""
        for script in scripts.ALL:
            self.send(script.load())

    def _call_early(self, command: bytes) -> asyncio.Future[Any]:
        """Do what `call` does while there is no connection."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._closed or not self._patient:
            resolve(future, ConnectionError("there is no connection"))
        else:
            self._early.append((command, future))
            self._begin()
        return future

    def send(self, command: bytes) -> bool:
        """Send one packed command and ask for no reply; return whether it was sent."""
        if self._wire is None:
            return False
        self._wire.send(command)
        return True

    def listen(self, channel: str, listener: Callable[[bytes, bytes], None]) -> None:
        """Call `listener(channel, message)` with all that is published there from now on."""
        self._listeners[channel.encode()] = listener
        if self._wire is not None:
            self._wire.write(pack(("SUBSCRIBE", channel)))

    def _refused(self, error: ReplyError) -> StoreUnavailable:
        if error.code in ("READONLY", "LOADING", "MASTERDOWN", "NOAUTH") and self._wire is not None:
            # no longer the one to write to; where there are Sentinels they know a better one
            self._wire.abort()
        remedy = {
            "OOM": "; give it more memory (maxmemory)",
            "NOPERM": "; let its user run scripts, publish, and write keys latchkey:*",
            "MISCONF": "; see to its disk",
        }.get(error.code, "")
        return StoreUnavailable(f"{self.shown} refused: {error}{remedy}")

    def _silent(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.shown} does not answer ({self._why}); sessions are kept, try again"
        )

    # -- the connection --

    async def open(self) -> None:
        """Connect for the first time; raises StoreUnavailable with what is wrong."""
        self._begin()
        loop = asyncio.get_running_loop()
        end = loop.time() + _SLOWEST_CONNECT + 1
        while self._wire is None:
            if self._hopeless or loop.time() > end:
                raise StoreUnavailable(
                    f"{self.shown} cannot be used ({self._why}); start it, or correct --store"
                )
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Send what was asked and disconnect, for good."""
        if self._closed:
            return
        self._closed = True
        if self._wire is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_GRACE):
                    # the last commands are answered by then
                    await self._wire.call(pack(("PING",)))
        await self._background.stop()
        if self._wire is not None and self._lost is not None:
            self._wire.abort()
            await asyncio.wait({self._lost}, timeout=_GRACE)
        for timer in (self._watch_timer, self._give_up):
            if timer is not None:
                timer.cancel()
        self._fail_early()
        await self._address.close()

    def _begin(self) -> None:
        if self._task is None and not self._closed:
            self._wait_no_longer_than(_SLOWEST_CONNECT)
            self._task = self._background.start(self._stay_connected())

    async def _stay_connected(self) -> None:
        pause = 0.02
        while True:
            try:
                async with asyncio.timeout(_SLOWEST_CONNECT):
                    await self._connect()
            except Exception as error:
                self._hopeless = isinstance(error, ReplyError | StoreUnavailable)
                self._complain(self._explained(error))
                await asyncio.sleep(pause * random.uniform(0.7, 1.3))  # noqa: S311
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            pause = 0.02
            assert self._lost is not None
            await asyncio.wait({self._lost})  # which a cancellation leaves as it is

    def _complain(self, why: str) -> None:
        if why != self._why:
            log.warning("%s cannot be used: %s", self.shown, why)
        self._why = why

    def _explained(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return "it did not answer in time"
        return str(error) or type(error).__name__

    async def _connect(self) -> None:
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wire = Wire(pushed=self._pushed, lost=lambda wire: self._went(wire, lost))
        try:
            await self._address.connect(wire)
            await greet(wire, self._address, self._listeners)
        except BaseException:
            wire.abort()
            raise
        self._lost, self._wire, self.up = lost, wire, True
        self.call = wire.call
        if self._why:
            log.info("connected to %s", self.shown)
        self._why, self._patient = "", True
        if self._give_up is not None:
            self._give_up.cancel()
        for listener in self.on_up:
            with logged(log, "a listener to a new connection failed"):
                listener()
        early, self._early = self._early, []
        for command, future in early:
            if not future.done():
                wire.send(command, future)
        self._watch()

    def _went(self, wire: Wire, lost: asyncio.Future[None]) -> None:
        if self._wire is wire:
            self._wire, self.up = None, False
            self.call = self._call_early
            if not self._closed:
                self._complain(self._why or "the connection was lost")
                self._wait_no_longer_than(_GRACE)
            for listener in self.on_down:
                with logged(log, "a listener to a lost connection failed"):
                    listener()
        if not lost.done():
            lost.set_result(None)

    def _wait_no_longer_than(self, seconds: float) -> None:
        self._patient = True
        if self._give_up is not None:
            self._give_up.cancel()
        self._give_up = asyncio.get_running_loop().call_later(seconds, self._fail_early)

    def _fail_early(self) -> None:
        """Let nobody wait for the connection any longer."""
        self._patient = False
        early, self._early = self._early, []
        for _, future in early:
            resolve(future, ConnectionError("there is no connection"))

    def _watch(self) -> None:
        """Look whether replies come in time; give a connection up on which they do not."""
        wire = self._wire
        if wire is None:
            return
        if wire.longest_wait() < _SLOWEST_REPLY - _CHECK_EVERY:
            self._suspect = None
        elif self._suspect is not wire:
            # it may have been this process that stood still; then the replies are read now
            self._suspect = wire
            self._watch_again(_SECOND_LOOK)
            return
        else:
            self._why = f"no reply for {_SLOWEST_REPLY:g} s"
            log.warning("%s: %s; the connection is given up", self.shown, self._why)
            wire.abort()
            return
        self._watch_again(_CHECK_EVERY)

    def _watch_again(self, seconds: float) -> None:
        if self._watch_timer is not None:  # that of the connection before, perhaps
            self._watch_timer.cancel()
        self._watch_timer = asyncio.get_running_loop().call_later(seconds, self._watch)

    def _pushed(self, message: Sequence[Any]) -> None:
        if message[0] != b"message":
            return
        listener = self._listeners.get(message[1])
        if listener is None:
            return
        try:
            listener(message[1], message[2])
        except (ValueError, RecursionError) as error:
            channel = message[1].decode()
            log.warning("what was published on %s is none of our messages: %s", channel, error)
        except Exception:
            log.exception("what was published could not be acted upon")
