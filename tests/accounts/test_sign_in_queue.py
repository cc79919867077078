"""The queue of sign-ins: many from one address leave others their sign-in."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.accounts import calls
from app.accounts.passwords import Passwords
from tests.support.forms import PASSWORD
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until

ATTACKER, SOMEBODY = "198.51.100.1", "203.0.113.7"
WRONG = "a wrong password"


class Gate:
    """Holds every hash of the wrong password until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open = threading.Event()
        self.hashing = 0
        verify = Passwords.verify

        def held(passwords: Passwords, stored: str | None, password: str) -> bool:
            if password == WRONG:
                self.hashing += 1
                self._open.wait(20)
            return verify(passwords, stored, password)

        monkeypatch.setattr(Passwords, "verify", held)

    def open(self) -> None:
        self._open.set()


@contextlib.asynccontextmanager
async def gated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[tuple[Site, Visitor, Gate]]:
    """Serve behind a trusted proxy, with an account `ann` and a gate before wrong passwords."""
    gate = Gate(monkeypatch)
    proxies = (ip_network("127.0.0.1/32"), ip_network("::1/128"))
    async with (
        serve(tmp_path, trusted_proxies=proxies, **settings) as site,
        Visitor(site.url) as visitor,
        aiohttp.TCPConnector(limit=0) as connector,
    ):
        await visitor.http.close()
        visitor.http = aiohttp.ClientSession(cookie_jar=visitor.jar, connector=connector)
        await site.services.accounts.register("ann", PASSWORD)
        try:
            yield site, visitor, gate
        finally:
            gate.open()


async def sign_in(visitor: Visitor, address: str, name: str, password: str) -> int:
    fields = {"username": name, "password": password}
    headers = {"X-Forwarded-For": address}
    async with visitor.http.post(visitor.url + "/login", json=fields, headers=headers) as answer:
        return answer.status


def begin(visitor: Visitor, address: str, name: str) -> asyncio.Task[int]:
    return asyncio.ensure_future(sign_in(visitor, address, name, WRONG))


@pytest.mark.attack("A14")
async def test_one_address_cannot_fill_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an account for each try; meanwhile another address signs in and /readyz says 200."""
    async with gated(tmp_path, monkeypatch) as (site, crowd, gate), Visitor(site.url) as somebody:
        most = calls._MAX_QUEUE + calls._WORKERS
        flood = [begin(crowd, ATTACKER, f"name {number}") for number in range(most + 50)]
        await until(
            lambda: sum(task.done() for task in flood) == len(flood) - calls._MAX_PER_ADDRESS
        )
        assert {task.result() for task in flood if task.done()} == {429}
        await until(lambda: gate.hashing == calls._WORKERS)
        assert (await somebody.get("/readyz"))[0] == 200
        mine = asyncio.ensure_future(sign_in(somebody, SOMEBODY, "ann", PASSWORD))
        gate.open()
        assert await mine == 204
        await asyncio.gather(*flood)


async def test_a_limited_address_takes_no_place_in_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tries get 429 at once, while those of others wait, and cost neither hash nor query."""
    async with gated(tmp_path, monkeypatch, failed_logins_per_minute=2) as (site, visitor, gate):
        asked: list[str] = []
        table = site.services.accounts._table
        stamp = table.password_hash

        def noted(name: str) -> str:
            asked.append(name)
            return str(stamp(name))

        monkeypatch.setattr(table, "password_hash", noted)
        for number in range(2):
            assert await sign_in(visitor, ATTACKER, f"name {number}", "another wrong one") == 401
        waiting = [begin(visitor, f"192.0.2.{number}", f"user {number}") for number in range(8)]
        await until(lambda: gate.hashing == calls._WORKERS and len(asked) == 10)
        asked.clear()
        tries = [sign_in(visitor, ATTACKER, f"other {number}", WRONG) for number in range(30)]
        assert await asyncio.wait_for(asyncio.gather(*tries), 10) == [429] * 30
        assert asked == []
        assert gate.hashing == calls._WORKERS
        gate.open()
        await asyncio.gather(*waiting)


async def test_forged_device_cookies_do_not_lead_around_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account is looked up for such a cookie, but no hash is computed."""
    async with gated(tmp_path, monkeypatch, failed_logins_per_minute=2) as (_, visitor, gate):
        gate.open()
        for number in range(2):
            assert await sign_in(visitor, ATTACKER, f"name {number}", "another wrong one") == 401
        visitor.http.cookie_jar.update_cookies({"latchkey-device": "forged.signature"})
        assert await sign_in(visitor, ATTACKER, "ann", WRONG) == 429
        assert gate.hashing == 0


async def test_simultaneous_probes_share_one_readiness_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of /readyz does not queue up either."""
    async with gated(tmp_path, monkeypatch) as (site, visitor, _):
        asked = 0
        check = site.services.accounts._table.check
        held = threading.Event()

        def count() -> None:
            nonlocal asked
            asked += 1
            held.wait(20)
            check()

        monkeypatch.setattr(site.services.accounts._table, "check", count)
        answers = [asyncio.ensure_future(visitor.get("/readyz")) for _ in range(40)]
        await until(lambda: asked == 1)
        held.set()
        assert {status for status, _ in await asyncio.gather(*answers)} == {200}
        assert asked <= 2
