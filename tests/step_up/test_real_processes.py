"""Proofs at real processes behind nginx, over Redis and PostgreSQL, one of which is killed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.browsers import PythonVisitor, ended
from tests.support.cluster import two
from tests.support.postgres import Postgres
from tests.support.sites import tabs_at
from tests.support.step_up import prove
from tests.support.waiting import until

EVENTS = 30


async def stream(tab: Any, answers: list[int]) -> None:
    """Raise the counter."""
    for _ in range(EVENTS):
        answers.append(await tab.call("incr"))


@pytest.mark.limit(60)
async def test_sockets_at_two_processes_go_on(tmp_path: Path, postgres: Postgres) -> None:
    """Each event is acknowledged once; the sign-out closes all."""
    async with two(tmp_path, postgres) as cluster:
        one, other = cluster.processes
        async with PythonVisitor(one.url) as ann:
            await ann.sign_up("ann")
            tabs = await tabs_at(ann, one, other)  # type: ignore[arg-type]
            answers: list[int] = []
            streams = asyncio.gather(*(stream(tab, answers) for tab in tabs))
            for url in (one.url, other.url, one.url):
                ann.url = url
                assert await prove(ann) == 204
            await streams
            assert sorted(answers) == list(range(1, 2 * EVENTS + 1))
            assert [ended(tab) for tab in tabs] == [[], []]
            await ann.sign_out()
            await until(lambda: all(ended(tab) for tab in tabs))


@pytest.mark.limit(60)
@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.2])
async def test_a_process_that_is_killed_leaves_one_session(
    tmp_path: Path, postgres: Postgres, delay: float
) -> None:
    """The cookie of the browser works, or the user signs in again; no socket is a zombie."""
    async with two(tmp_path, postgres) as cluster:
        one, other = cluster.processes
        async with PythonVisitor(one.url) as ann, PythonVisitor(other.url) as laptop:
            await ann.sign_up("ann")
            (tab,) = await tabs_at(ann, other)  # type: ignore[arg-type]
            ann.url = one.url
            proving = asyncio.ensure_future(prove(ann))
            await asyncio.sleep(delay)
            await one.stop(signal.SIGKILL)
            with contextlib.suppress(aiohttp.ClientError):
                await proving
            assert await tab.call("whoami") == "ann"
            ann.url = other.url
            user = (await ann.get("/session")).json()["user"]
            assert user in ("ann", None)
            # as another device sees it: this session and its own, and ending it ends the socket
            await laptop.sign_in("ann")
            page = await laptop.get("/account", headers={"Accept": "application/json"})
            devices = page.json()["devices"]
            assert len(devices) == 2
            (theirs,) = (device for device in devices if not device["current"])
            assert (await laptop.post(f"/account/sessions/{theirs['id']}/revoke")).status == 204
            await until(lambda: ended(tab))
            assert (await ann.get("/session")).json()["user"] is None
