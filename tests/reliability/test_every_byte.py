"""Faults at every byte between the program and its Redis or its PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.testing import PASSWORD
from tests.reliability.workers import WorkerSocket
from tests.support.faulty_proxy import KINDS, WAYS, Fault, FaultyProxy, Kind
from tests.support.postgres import Postgres
from tests.support.raw_websocket import RefusedError
from tests.support.redis_server import shared_server
from tests.support.site import Site, serve
from tests.support.sites import KEYS
from tests.support.visitor import Visitor
from tests.support.waiting import until

_PLACES = 16  # sites at which faults happen at the same time
_PROMPT = 20.0  # seconds for an answer; the promise is less, the rest is for a busy machine


Operation = Callable[["Place"], Awaitable[int | None]]


class Place:
    """A site with a proxy before its Redis or PostgreSQL, and a browser with a socket."""

    def __init__(self, site: Site, proxy: FaultyProxy, visitor: Visitor) -> None:
        self.site, self.proxy, self.visitor = site, proxy, visitor
        self.registered = 0

    async def page(self) -> int | None:
        """Raise the counter by a page; return the new count, or None if it was refused."""
        status, text, *_ = await self.visitor.post("/incr")
        assert status in (200, 503), (status, text)
        return int(text) if status == 200 else None

    async def event(self) -> int | None:
        """Raise the counter by an event; return the new count, or None if it was refused."""
        return await self._call("incr")

    async def count(self) -> int | None:
        """Return the count, or None if it was refused."""
        return await self._call("count")

    async def _call(self, event: str) -> int | None:
        """Connect and send an event; return its ack, or None for a 503 or an error."""
        try:
            async with WorkerSocket(self.visitor) as socket:
                count = await socket.call(event)
        except RefusedError as refused:
            if refused.response.status != 503:
                raise
            return None
        except EOFError:  # it may join no namespace while the store is away
            return None
        assert isinstance(count, int) or "try again" in count["error"], count
        return count if isinstance(count, int) else None

    async def patiently(self, operation: Operation) -> int:
        """Do something again until it is not refused."""
        while (answer := await operation(self)) is None:
            await until(self.is_ready)
        return answer

    async def register(self) -> int | None:
        """Make a new account; return a number if it was made, or None if it was refused."""
        self.registered += 1
        status, text, *_ = await self.visitor.post("/register", json=self.credentials())
        assert status in (204, 503), (status, text)
        return self.registered if status == 204 else None

    def credentials(self) -> dict[str, str]:
        """Return name and password of the account that was registered last."""
        name = f"user-{self.visitor.url.rpartition(':')[2]}-{self.registered}"
        return {"username": name, "password": PASSWORD}

    async def is_ready(self) -> bool:
        return bool((await self.visitor.get("/readyz"))[0] == 200)


@contextlib.asynccontextmanager
async def places(
    folder: Path, target: int, options: Callable[[int, int], dict[str, Any]]
) -> AsyncIterator[list[Place]]:
    """Serve several sites, each with a proxy of its own before `target`.

    `options` returns the settings for a number and the port of its proxy.
    """
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for number in range(_PLACES):
            proxy = stack.enter_context(FaultyProxy(target))
            site = await stack.enter_async_context(
                serve(
                    folder / str(number),
                    secret_keys=KEYS,
                    handshakes_per_minute=0,
                    failed_logins_per_minute=0,
                    **options(number, proxy.port),
                )
            )
            visitor = await stack.enter_async_context(Visitor(site.url))
            found.append(Place(site, proxy, visitor))
        yield found


def _port(url: str, port: int) -> str:
    """Return a URL with another port."""
    return re.sub(r":\d+/", f":{port}/", url)


async def lengths(place: Place, operation: Operation) -> dict[str, int]:
    """Return how many bytes an operation takes each way."""
    await operation(place)
    place.proxy.set()
    assert await operation(place) is not None
    return {way: place.proxy.passed[way] for way in WAYS}


async def at_every_byte(
    found: list[Place],
    operation: Operation,
    kinds: Iterable[Kind],
    check: Callable[[Place, Operation, Fault], Awaitable[None]],
    step: int = 1,
) -> None:
    """Let each fault happen at every byte of an operation, and check what is left."""
    size = await lengths(found[0], operation)
    faults = (
        Fault(kind, way, position)
        for kind in kinds
        for way in WAYS
        for position in range(0, size[way], step)
    )

    async def work(place: Place) -> None:
        for fault in faults:
            try:
                async with asyncio.timeout(_PROMPT):
                    await check(place, operation, fault)
            except Exception as error:
                raise AssertionError(f"{fault} of {size}") from error

    async with asyncio.TaskGroup() as group:
        for place in found:
            group.create_task(work(place))


def redis_options(number: int, port: int) -> dict[str, Any]:
    return {"store": f"redis://127.0.0.1:{port}/0", "process_number": number}


def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Check that the program has logged no traceback."""
    loud = [record for record in caplog.records if record.exc_info]
    assert not loud, logging.Formatter().format(loud[0])


async def before_or_after(place: Place, operation: Operation, fault: Fault, *first: Fault) -> None:
    """The change is stored or not, an acknowledged one is, and the next one works."""
    before = await place.patiently(Place.count)
    place.proxy.set(*first, fault)
    acked = await operation(place)
    place.proxy.set()
    if fault.kind == "delay":
        assert acked == before + 1
    after = await place.patiently(Place.count)
    assert after in ((before, before + 1) if acked is None else (acked,)), (before, acked, after)
    assert await place.patiently(Place.page) > after
    assert '"user": "user' in (await place.visitor.get("/session"))[1]


@pytest.mark.limit(1200)
@pytest.mark.parametrize(
    ("operation", "kind"), [*((Place.page, kind) for kind in KINDS), (Place.event, "cut")]
)
async def test_an_edit_survives_a_fault_at_every_byte_from_and_to_redis(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, operation: Operation, kind: Kind
) -> None:
    """It is answered, with what was stored or with 503."""
    async with places(tmp_path, shared_server().port, redis_options) as found:
        for number, place in enumerate(found):
            await place.visitor.sign_up(f"user{number}")
        await at_every_byte(found, operation, [kind], before_or_after)
    quiet(caplog)


@pytest.mark.limit(1200)
@pytest.mark.parametrize("kind", ["cut", "reset"])
async def test_a_connection_to_redis_is_made_again_after_a_fault_at_every_byte_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: Kind
) -> None:
    """The connection is lost, and the first attempts to make it again fail anywhere."""
    lost = Fault("reset", "request", 0)

    async def connect_again(place: Place) -> int | None:
        place.proxy.set(lost)
        await place.page()
        return await place.patiently(Place.page)

    async def check(place: Place, operation: Operation, fault: Fault) -> None:
        await before_or_after(place, Place.page, fault, lost)

    async with places(tmp_path, shared_server().port, redis_options) as found:
        for number, place in enumerate(found):
            await place.visitor.sign_up(f"user{number}")
        await at_every_byte(found, connect_again, [kind], check)
    quiet(caplog)


@pytest.mark.limit(1200)
@pytest.mark.parametrize("kind", KINDS)
async def test_an_account_survives_a_fault_at_every_byte_from_and_to_postgresql(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    postgres: Postgres,
    seconds: float,
    kind: Kind,
) -> None:
    """A registration that was acknowledged is there; one that was refused can be made again."""
    database = postgres.database()

    def options(number: int, port: int) -> dict[str, Any]:
        return {"store": "memory", "database": _port(postgres.url(database), port)}

    async def made_or_not(place: Place, operation: Operation, fault: Fault) -> None:
        await until(place.is_ready)
        place.proxy.set(fault)
        acked = await operation(place)
        place.proxy.set()
        account = place.credentials()

        def stored() -> bool:
            name = account["username"]
            found = reader.execute("SELECT 1 FROM accounts WHERE name = %s", [name])
            return bool(found.fetchall())

        async def again() -> int | None:
            """Sign in, or register if the account was not made."""
            place.visitor.clear_cookies()
            path = "/login" if stored() else "/register"
            status = (await place.visitor.post(path, json=account))[0]
            return None if status == 503 else status

        assert stored() or acked is None, "an acknowledged account is not there"
        assert acked or fault.kind != "delay", "a delay of 0.3 s is no failure"
        assert await place.patiently(lambda _: again()) == 204

    url = postgres.url(database)
    with psycopg.connect(url, autocommit=True) as reader:
        async with places(tmp_path, postgres.port, options) as found:
            # what is not answered takes seconds
            step = {"cut": 1, "half": 23}.get(kind, 7) if not seconds else 1
            await at_every_byte(found, Place.register, [kind], made_or_not, step)
    quiet(caplog)
