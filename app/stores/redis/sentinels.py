"""The Sentinels of a Redis: who is the primary now?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.stores.redis.failure import in_words

log = logging.getLogger("latchkey.redis")

_TIMEOUT = 0.5  # seconds until the next Sentinel is asked

HostPort = tuple[str, int]


class NoPrimary(ConnectionError):
    """No Sentinel names a primary that works; the message says what each of them said."""


class Sentinels:
    """Asks one Sentinel after the other, first the one that answered the last time."""

    def __init__(self, service: str, addresses: Sequence[HostPort]) -> None:
        """`service` is the name under which they watch the primary."""
        self._service = service
        self._clients = [
            (f"{host}:{port}", _client(host, port)) for host, port in dict.fromkeys(addresses)
        ]
        self._latest: HostPort | None = None
        self._away = False

    async def primary(self) -> HostPort:
        """Return the address of the primary; raises NoPrimary.

        If no Sentinel answers, return the latest primary: a Redis that works is used without them,
        and a connection finds out whether it is a replica by now.
        """
        found = await self._ask()
        if isinstance(found, str):
            raise NoPrimary(f"no Sentinel names a working primary {self._service}: {found}")
        self._latest = found
        return found

    async def names_another(self) -> bool:
        """Whether a Sentinel names another primary than the latest; logs if none answers."""
        found = await self._ask()
        return not isinstance(found, str) and found != self._latest

    async def _ask(self) -> HostPort | str:
        """Return the address of the primary, or what each Sentinel said."""
        said: list[str] = []
        answered = False
        for index, (name, client) in enumerate(self._clients):
            try:
                found = _read(await client.sentinel_masters(), self._service)
            except (RedisError, OSError, TimeoutError) as error:
                said.append(f"{name} {in_words(error)}")
                continue
            answered = True
            if isinstance(found, str):
                said.append(f"{name} {found}")
                continue
            self._clients.insert(0, self._clients.pop(index))
            self._log(away=False)
            return found
        sentence = ", ".join(said)
        self._log(away=not answered, said=sentence)
        return sentence if answered or self._latest is None else self._latest

    def _log(self, *, away: bool, said: str = "") -> None:
        """Log it once when the Sentinels go away, and once when they are back."""
        if self._latest is None or away == self._away:
            return
        self._away = away
        if away:
            log.warning(
                "no Sentinel of %s answers, going on with %s:%d, no failover is possible; "
                "start them: %s",
                *(self._service, *self._latest, said),
            )
        else:
            log.info("the Sentinels of %s are back", self._service)

    async def close(self) -> None:
        """Close the connections to the Sentinels."""
        for _, client in self._clients:
            await client.aclose()


def _client(host: str, port: int) -> Any:
    return Redis(
        host=host,
        port=port,
        socket_timeout=_TIMEOUT,
        socket_connect_timeout=_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
    )


def _read(masters: Any, service: str) -> HostPort | str:
    """Return the address of the primary that a Sentinel watches, or what is wrong with it."""
    state = masters.get(service)
    if state is None:
        return f"watches no {service}"
    if state["is_sdown"] or state["is_odown"] or not state["is_master"]:
        return f"finds {state['ip']}:{state['port']} down"
    return str(state["ip"]), int(state["port"])
