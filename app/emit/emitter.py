"""Emit from another program."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from app.emit.emission import Emission, InvalidEmission
from app.ops.control import CommandFailed
from app.ops.control_client import call
from app.settings import SettingsError, is_shared, read_some
from app.stores import StoreUnavailable

_TIMEOUT = 10.0  # seconds
_CHANNEL = "socketio"


class EmitFailed(Exception):
    """Nothing was emitted, or it is unknown; the message says why and what to do."""


class InvalidSettings(EmitFailed, SettingsError):
    """A setting of the emitter is wrong; the message names it and says what to write instead."""


class Place(Protocol):
    """Where a site is found, such as its Settings."""

    @property
    def store(self) -> str:
        """Return the value of --store."""
        ...

    @property
    def data_dir(self) -> Path:
        """Return the data folder."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Place:
    store: str = dataclasses.field(repr=False)  # it may hold a password
    data_dir: Path


class Emitter:
    """Emits to the sockets of a site, from a program that is not the site.

    With --store redis it publishes in Redis, for all processes. Otherwise the running process
    does it, whose data folder this program must be able to read. Its methods block: in a program
    with an event loop call `await asyncio.to_thread(emitter.emit, …)`.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._host_id = secrets.token_hex(16)

    @classmethod
    def from_settings(
        cls, arguments: Sequence[str] = (), environ: Mapping[str, str] = os.environ
    ) -> Emitter:
        """Read --store and --data-dir where the site does: flags, environment, --config.

        It reads no other setting. Raises EmitFailed if one of them is wrong.
        """
        try:
            return cls(_Place(**read_some(("store", "data_dir"), arguments, environ)))
        except SettingsError as error:
            raise InvalidSettings(str(error)) from None

    def emit(
        self,
        event: str,
        data: Any = None,
        *,
        namespace: str = "/",
        room: str | None = None,
        session: str | None = None,
        user: str | None = None,
    ) -> None:
        """Send an event to a room, a session or a user; without any, to the whole namespace.

        `data` is what JSON has, `session` a session id and `user` an account id. Raises
        EmitFailed, also for a namespace that there is not; over Redis nobody checks that.
        """
        emission = Emission(
            event=event, data=data, namespace=namespace, room=room, session=session, user=user
        )
        try:
            emission.check()
            encoded = msgspec.json.encode(emission)
            if is_shared(self._place.store):
                asyncio.run(self._publish(emission))
            else:
                call(self._place.data_dir, "emit", msgspec.json.decode(encoded), timeout=_TIMEOUT)
        except (InvalidEmission, CommandFailed, StoreUnavailable, TypeError, ValueError) as error:
            raise EmitFailed(str(error)) from error

    async def _publish(self, emission: Emission) -> None:
        """Publish it as python-socketio's managers do; raises StoreUnavailable."""
        try:
            from app.stores.redis import RedisClient
        except ImportError as error:
            raise EmitFailed(
                f"--store redis needs the package {error.name}; run pip install -e '.[redis]'"
            ) from None
        message = {
            "method": "emit",
            "event": emission.event,
            "data": [emission.data],
            "binary": False,
            "namespace": emission.namespace,
            "room": emission.target,
            "skip_sid": None,
            "callback": None,
            "host_id": self._host_id,
        }
        redis = RedisClient(self._place.store)
        try:
            heard = await redis.execute("PUBLISH", _CHANNEL, msgspec.json.encode(message))
        finally:
            await redis.close()
        if not heard:
            raise EmitFailed("no process of the site listens in this Redis; start one")
