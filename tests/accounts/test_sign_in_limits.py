"""Limits of failed sign-ins and registrations."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from pathlib import Path

import pytest

from app.accounts import calls
from tests.support.forms import PASSWORD, each_kind, known, send
from tests.support.site import serve
from tests.support.visitor import Visitor


@pytest.mark.asvs("6.3.1")
@each_kind
async def test_too_many_failures_get_429_with_retry_after(tmp_path: Path, kind: str) -> None:
    """After the limit even the right password, in any spelling of the name, has to wait."""
    async with serve(tmp_path, failed_logins_per_minute=3) as site, Visitor(site.url) as visitor:
        await known(site, "ann")
        for _ in range(3):
            answer = await send(visitor, kind, "/login", username="ann", password="wrong wrong")
            assert answer.status == 401
        for name in ("ann", "ANN", " ann "):
            answer = await send(visitor, kind, "/login", username=name, password=PASSWORD)
            assert answer.status == 429
            assert "wait" in answer.error
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert visitor.cookie == ""


@pytest.mark.asvs("6.3.1")
@pytest.mark.attack("A11")
async def test_an_account_is_guarded_from_many_addresses(tmp_path: Path) -> None:
    """Failures count against the account too, however it is spelled; others are not concerned."""
    async with (
        serve(
            tmp_path,
            failed_logins_per_minute=3,
            trusted_proxies=(ip_network("127.0.0.1/32"), ip_network("::1/128")),
        ) as site,
        Visitor(site.url) as visitor,
    ):
        await known(site, "ann", "bob")

        async def login(address: str, name: str, password: str) -> int:
            headers = {"X-Forwarded-For": address}
            fields = {"username": name, "password": password}
            return (await send(visitor, "json", "/login", headers, **fields)).status

        for number, name in enumerate(("ann", "ANN", "Ann ")):
            assert await login(f"192.0.2.{number}", name, "wrong wrong") == 401
        assert await login("192.0.2.9", "ann", PASSWORD) == 429
        assert await login("192.0.2.9", "bob", PASSWORD) == 204


@pytest.mark.asvs("6.3.1")
@pytest.mark.attack("A11")
async def test_guesses_sent_at_once_are_limited_as_those_one_by_one(tmp_path: Path) -> None:
    """A burst gets no more tries than the limit and the few that are being hashed."""
    async with serve(tmp_path, failed_logins_per_minute=5) as site, Visitor(site.url) as visitor:
        await known(site, "ann")
        answers = await asyncio.gather(
            *(
                send(visitor, "json", "/login", username="ann", password=f"guess number {number}")
                for number in range(40)
            )
        )
        statuses = [answer.status for answer in answers]
        assert set(statuses) == {401, 429}
        assert 5 <= statuses.count(401) < 5 + calls._WORKERS


@pytest.mark.asvs("6.3.8")
@pytest.mark.attack("A13")
async def test_attempts_to_find_taken_names_are_limited(tmp_path: Path) -> None:
    """The register page tells that a name is taken, but only so often a minute."""
    async with serve(tmp_path, failed_logins_per_minute=3) as site, Visitor(site.url) as visitor:
        names = [f"user {number}" for number in range(5)]
        await known(site, *names)
        statuses = [
            (await send(visitor, "json", "/register", username=name, password=PASSWORD)).status
            for name in names
        ]
        assert statuses == [422, 422, 422, 429, 429]
