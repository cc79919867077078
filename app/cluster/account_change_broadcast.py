"""Changes of accounts, broadcast to all processes."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable

import msgspec

from app.common.background import Background
from app.common.log_and_continue import logged
from app.stores.redis import RedisClient
from app.stores.redis.subscriptions import Subscriber

log = logging.getLogger("latchkey.accounts")

_CHANNEL = "latchkey:accounts"
_Message = tuple[str, str]  # the process that sends it, the account's id


class AccountChangeBroadcast:
    """Broadcasts which accounts were changed or deleted here, and tells of those elsewhere.

    A message may be lost, if Redis is away: what is remembered of an account is valid for a moment
    only.
    """

    def __init__(self, client: RedisClient, changed: Callable[[str], Awaitable[None]]) -> None:
        """`changed` is called with the id of an account that another process has changed."""
        self._client = client
        self._changed = changed
        self._process = secrets.token_hex(8)
        self._background = Background()

    def subscriber(self) -> Subscriber:
        """Return the Redis channel and the function that takes its messages."""
        return Subscriber(channels={_CHANNEL: self._receive})

    def publish(self, account_id: str) -> None:
        """Tell the other processes that this account was changed or deleted here."""
        self._client.publish(_CHANNEL, msgspec.json.encode((self._process, account_id)))

    async def stop(self) -> None:
        """Stop what is under way."""
        await self._background.stop()

    def _receive(self, message: bytes) -> None:
        process, account_id = msgspec.json.decode(message, type=_Message)
        if process != self._process:
            self._background.start(self._tell(account_id))

    async def _tell(self, account_id: str) -> None:
        with logged(log, "a change of an account at another process could not be followed"):
            await self._changed(account_id)
