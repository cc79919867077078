"""The product that docs/fork.md describes: its own tests pass, and both of its sites work.

The files are those of the page, as they are written there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.support import fork_document
from tests.support.chromium import person, press, shows
from tests.support.copies import copy_upstream
from tests.support.node_client import NodeSocket, NodeVisitor
from tests.support.postgres import Postgres
from tests.support.process import Process, process
from tests.support.redis_server import RedisServer
from tests.support.visitor import Visitor
from tests.support.waiting import until

KARLA = {"X-Company-Id": "17", "X-Company-Name": "Karla"}  # as the company's proxy sets them
APPOINT = fork_document.section("Sessions from anywhere").partition("```sh\npython -m ")[2]


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this repository with the files of the page, and the migration that it orders."""
    folder = copy_upstream(tmp_path_factory.mktemp("product"))
    fork_document.write(folder)
    revision = ("app.database", "revision", "notes", "-m", "Notes")
    command(folder, *revision)
    return folder


def command(product: Path, *words: str) -> str:
    """Run a module of the product; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=product,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def appoint(product: Path, site: Path, *flags: str) -> str:
    """Run the operator's command of the page, which makes ann a moderator."""
    words = APPOINT.partition("\n")[0].split()
    return command(product, *words, f"--data-dir={site / 'data'}", *flags)


@contextlib.asynccontextmanager
async def serving(product: Path, folder: Path, *flags: str) -> AsyncIterator[Process]:
    """Run the product; its log is in the folder."""
    folder.mkdir()
    async with process(
        folder / "data", *flags, log=folder / "log", root=product, program="app"
    ) as server:
        yield server


def test_its_own_tests_pass(product: Path) -> None:
    """Those of the section "Tests of your own"."""
    options = ("-o", "asyncio_mode=auto", "-p", "no:cacheprovider", "-p", "no:xdist")
    assert "4 passed" in command(product, "pytest", "-q", *options, "tests")


@pytest.mark.limit(90)
@pytest.mark.asyncio(loop_scope="session")
async def test_it_serves_on_sqlite(product: Path, tmp_path: Path, chromium: Any) -> None:
    """To a browser and to the official client; and its hooks run."""
    site = tmp_path / "site"
    async with serving(product, site, "--chat-longest=5") as server:
        await the_browser(chromium, server)
        async with NodeVisitor(server.url) as karla, Visitor(server.url) as ann:
            await the_story(karla, ann, lambda: appoint(product, site))
        assert await server.stop() == 0
    started_and_stopped(site)


@pytest.mark.limit(90)
@pytest.mark.asyncio(loop_scope="session")
async def test_it_serves_on_two_processes(
    product: Path, postgres: Postgres, tmp_path: Path
) -> None:
    """They start at once on an empty database; one migrates, and users of both meet."""
    redis, database = RedisServer(tmp_path / "redis"), postgres.database()
    redis.start()
    flags = (
        f"--database={postgres.url(database)}",
        f"--store={redis.url}",
        "--secret-keys=" + "0123456789abcdef" * 4,
        "--chat-longest=5",
    )
    try:
        async with contextlib.AsyncExitStack() as stack:
            first, second = await together(
                stack,
                serving(product, tmp_path / "first", *flags),
                serving(product, tmp_path / "second", *flags, "--process-number=1"),
            )
            karla = await stack.enter_async_context(NodeVisitor(first.url))
            ann = await stack.enter_async_context(Visitor(second.url))
            await the_story(karla, ann, lambda: appoint(product, tmp_path / "first", *flags[:2]))
            assert await first.stop() == 0
            assert await second.stop() == 0
        started_and_stopped(tmp_path / "first")
        started_and_stopped(tmp_path / "second")
    finally:
        redis.kill()


def started_and_stopped(site: Path) -> None:
    """The hooks of a module have logged so."""
    log = (site / "log").read_text()
    assert "the ticker has started" in log
    assert "the ticker has stopped" in log


async def the_browser(chromium: Any, server: Process) -> None:
    """Lena signs in by the company's proxy, orders in one tab, and sees it in the other."""
    from playwright.async_api import expect

    headers = {"X-Company-Id": "18", "X-Company-Name": "Lena"}
    icon = ("404 (Not Found)",)  # the bare page of the sign-in names none
    async with person(chromium, server, expected=icon, extra_http_headers=headers) as lena:
        tab = await lena.tab("/company")
        await press(tab, "Sign in")
        await shows(tab, user="Lena")
        tabs = [await lena.tab("/orders"), await lena.tab("/orders")]
        for page in tabs:  # their sockets have connected
            await expect(page.get_by_role("button", name="Order")).to_be_enabled()
        await tabs[0].get_by_label("Item").fill("tea")
        await press(tabs[0], "Order")
        for page in tabs:
            await expect(page.locator("#count")).to_have_text("1")


async def together(
    stack: contextlib.AsyncExitStack, *servers: AbstractAsyncContextManager[Process]
) -> list[Process]:
    """Start them at the same time."""
    started = (stack.enter_async_context(server) for server in servers)
    return list(await asyncio.gather(*started))


async def the_story(karla: NodeVisitor, ann: Visitor, appoint: Callable[[], str]) -> None:
    """Karla has the official client at one process; ann moderates, maybe at another one."""
    assert (await karla.post("/company")).status == 401
    assert (await karla.post("/company", headers=KARLA)).status == 303
    assert (await karla.get("/session")).json()["user"] == "Karla"
    names = ("/orders", "/chat", "/notes", "/lobby", "/ticker", "/room/blue", "/club")
    socket = await karla.socket("websocket", namespaces=names)
    assert socket.connect_errors("/club") == [("closed", {"until": "2027-01-01"})]
    assert socket.events("/room/blue") == [("welcome", ("blue",))]
    await ann.sign_up("ann")
    anns = await ann.socket("/chat", "/lobby")
    await they_chat(socket, anns)
    await karla_keeps_notes(karla, socket)
    await until(lambda: ("tick", (2,)) in socket.events("/ticker"))

    karlas_id = (await karla.get("/session")).json()["user_id"]
    assert (await ann.post(f"/ban/{karlas_id}")).status == 403
    await asyncio.to_thread(appoint)
    assert (await ann.post(f"/reset/{karlas_id}")).status == 204
    assert await socket.call("count", namespace="/orders") == 0
    assert (await ann.post(f"/ban/{karlas_id}")).json() == {"ended": 1}
    await until(lambda: socket.ends("/chat") != [])
    revoked = ("session ended", ({"reason": "revoked", "reconnect": True},))
    assert revoked in socket.events("/chat")
    assert (await karla.post("/company", headers=KARLA)).status == 403
    assert (await ann.post("/feedback/good")).status == 200
    assert 'feedback_received_total{kind="good"} 1.0' in (await ann.get("/metrics")).text


async def they_chat(karla: NodeSocket, ann: Any) -> None:
    """A message reaches the others, and one that is long or no string reaches nobody."""
    answer = await karla.call("chat message", 5, namespace="/chat")
    assert answer == {"error": "expected str, got int at arg 1"}
    assert await karla.call("chat message", "hello", namespace="/chat") is None
    assert await ann.event("chat message", namespace="/chat") == "hello"
    answer = await karla.call("chat message", "hello!", namespace="/chat")
    assert answer == {"error": "a message has at most 5 characters"}


async def karla_keeps_notes(karla: NodeVisitor, socket: NodeSocket) -> None:
    """They are in a table, and her sockets are told; an order is in her session."""
    assert (await karla.post("/notes", json={"text": "tea"})).json() == {"count": 1}
    await until(lambda: socket.events("/notes") == [("note", ({"text": "tea"},))])
    assert await socket.call("add", "milk", namespace="/notes") == 2
    assert (await karla.get("/notes")).json() == {"notes": ["tea", "milk"]}
    assert (await karla.post("/orders", json={"item": "tea"})).json()["count"] == 1
    await until(lambda: socket.events("/orders") == [("ordered", ("tea",))])
