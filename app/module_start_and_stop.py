"""What modules of handlers/ do when the application starts and stops."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from app.common.background import cancel_all
from app.services import Services
from app.settings import SettingsError

log = logging.getLogger("latchkey")

Hook = Callable[[Services], Awaitable[None] | None]


class StartFailed(Exception):
    """A module could not start; the message names it."""


class Module(Protocol):
    """The hooks of one module."""

    @property
    def name(self) -> str: ...
    @property
    def on_start(self) -> Hook | None: ...
    @property
    def on_stop(self) -> Hook | None: ...


class StartAndStop:
    """Calls `on_start` of each module in order, and `on_stop` in reverse order.

    A module is stopped if its `on_start` has succeeded, or if it has none and its turn had come.
    """

    def __init__(self, modules: Sequence[Module]) -> None:
        self._modules = modules
        self._started: list[Module] = []

    async def start(self, services: Services) -> None:
        """Call `on_start` of each module; raises StartFailed at the first that fails."""
        for module in self._modules:
            if module.on_start is not None:
                await _start(module.name, module.on_start, services)
            self._started.append(module)

    async def stop(
        self, services: Services, *, seconds: float, skip: asyncio.Event | None = None
    ) -> None:
        """Call `on_stop` of each started module, which has some `seconds` each.

        One that fails or takes longer is logged, and the next one is called. If `skip` is set, the
        one that runs is cancelled and the others are not called.
        """
        while self._started:
            module = self._started.pop()
            if module.on_stop is None:
                continue
            if skip is not None and skip.is_set():
                log.warning("on_stop was skipped module=%s", module.name)
                continue
            await _stop(module.name, module.on_stop, services, seconds, skip)


async def _start(name: str, hook: Hook, services: Services) -> None:
    try:
        await _call(hook, services)
    except SettingsError as error:
        raise StartFailed(f"{name} does not start: {error}") from error
    except Exception as error:
        log.error("on_start failed module=%s", name, exc_info=error)
        why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise StartFailed(f"on_start of {name} failed: {why}") from error


async def _stop(
    name: str, hook: Hook, services: Services, seconds: float, skip: asyncio.Event | None
) -> None:
    began = time.monotonic()
    hooking = asyncio.create_task(_call(hook, services))
    skipping = asyncio.create_task((skip or asyncio.Event()).wait())
    try:
        await asyncio.wait(
            {hooking, skipping}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if not hooking.done():
            log.warning("on_stop was cut off module=%s after=%.1fs", name, time.monotonic() - began)
    finally:
        left = await cancel_all({hooking, skipping})
    if left:
        log.error("on_stop ignores its cancellation module=%s", name)
    elif not hooking.cancelled() and (error := hooking.exception()) is not None:
        log.error("on_stop failed module=%s", name, exc_info=error)


async def _call(hook: Hook, services: Services) -> None:
    called = hook(services)
    if called is not None:
        await called
