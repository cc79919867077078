"""Changes that count only when replicas have them (the command WAIT)."""

from __future__ import annotations

import asyncio
from typing import Any

from app.stores.futures import resolve
from app.stores.redis.reply_error import ReplyError

_TIMEOUT = 0.5  # seconds; a command is to be answered within REPLY_TIMEOUT


class Confirmation:
    """Holds the replies to changes of one batch back until enough replicas have confirmed them.

    Replication is a stream, so a replica that has confirmed this batch has all that came before.
    Without replicas to wait for, each caller gets its reply at once.
    """

    def __init__(self, replicas: int) -> None:
        """`replicas` is how many have to confirm each change."""
        self._replicas = replicas
        self.words = ("WAIT", replicas, round(_TIMEOUT * 1000))
        self._held: list[tuple[asyncio.Future[Any], asyncio.Future[Any]]] = []

    def hold(self, caller: asyncio.Future[Any]) -> asyncio.Future[Any]:
        """Return a future for Redis's reply to a change; `caller` gets it when it is confirmed."""
        reply: asyncio.Future[Any] = caller.get_loop().create_future()
        self._held.append((reply, caller))
        return reply

    def release_with(self, confirmed: asyncio.Future[Any]) -> bool:
        """Answer the callers of this batch with this future, the reply to WAIT.

        Returns False if the batch has no changes.
        """
        held, self._held = self._held, []
        if held:
            confirmed.add_done_callback(lambda reply: self._answer(held, reply))
        return bool(held)

    def lose(self, error: Exception) -> None:
        """Fail the changes that were not sent yet: the connection is lost."""
        held, self._held = self._held, []
        for reply, caller in held:
            _consume(reply)
            resolve(caller, error)

    def _answer(
        self,
        held: list[tuple[asyncio.Future[Any], asyncio.Future[Any]]],
        confirmed: asyncio.Future[Any],
    ) -> None:
        error = confirmed.exception()
        replicas = 0 if error is not None else confirmed.result()
        if error is None and replicas < self._replicas:
            error = ReplyError(
                f"NOREPLICAS {replicas} of {self._replicas} replicas have confirmed the change "
                f"within {_TIMEOUT:g} s, so a failover may lose it"
            )
        for reply, caller in held:
            # what Redis refused needs no confirmation
            refused = _consume(reply)
            resolve(caller, refused or error or reply.result())


def _consume(reply: asyncio.Future[Any]) -> BaseException | None:
    """Return the error of a reply, so that asyncio does not log it as never retrieved."""
    return reply.exception() if reply.done() else None
