"""The time and the timers of connections."""

from __future__ import annotations

import asyncio
from typing import Protocol

from app.transport.settings import TransportSettings
from app.transport.timers import Wheel


class Clock(Protocol):
    """The loop, its timers and the settings, which all connections share; the engine."""

    wheel: Wheel

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def settings(self) -> TransportSettings: ...
