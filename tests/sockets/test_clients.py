"""Real clients on a real server: one cookie, one session, for pages and sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.browsers import browser, each_client, each_mode, joined
from tests.support.node_client import Driver, NodeVisitor
from tests.support.process import process
from tests.support.site import serve
from tests.support.visitor import Visitor
from tests.support.waiting import until
from tests.support.watched_store import WatchedStore


@pytest.mark.express("A5", "J2")
@each_client
@each_mode
async def test_a_handshake_without_cookie_gives_one(tmp_path: Path, client: str, mode: str) -> None:
    """A client without cookies gets the cookie of a stored session."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, browser(client, site.url) as visitor:
        assert visitor.cookie == ""
        await joined(visitor, mode)
        name, _, value = visitor.cookie.partition("=")
        assert name == "latchkey"
        assert store.ids == {value.partition(".")[0]}


@pytest.mark.express("A6")
@each_client
@each_mode
async def test_the_next_page_has_the_handshakes_session(
    tmp_path: Path, client: str, mode: str
) -> None:
    """The next page has the change of an event, and the cookie stays."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, browser(client, site.url) as visitor:
        socket = await joined(visitor, mode)
        cookie = visitor.cookie
        assert await socket.call("incr") == 1
        assert await visitor.incr() == 2
        assert visitor.cookie == cookie
        assert len(store.ids) == 1


@each_client
@each_mode
async def test_the_next_handshake_has_the_first_ones_session(
    tmp_path: Path, client: str, mode: str
) -> None:
    """A second connection with the first one's cookie shares its session."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, browser(client, site.url) as visitor:
        first = await joined(visitor, mode)
        cookie = visitor.cookie
        assert await first.call("incr") == 1
        second = await joined(visitor, mode)
        assert await second.call("incr") == 2
        assert visitor.cookie == cookie
        assert len(store.ids) == 1


@each_client
@each_mode
async def test_a_socket_has_the_session_of_the_page_before_it(
    tmp_path: Path, client: str, mode: str
) -> None:
    """A browser that has loaded a page connects with that page's session."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, browser(client, site.url) as visitor:
        assert await visitor.incr() == 1
        cookie = visitor.cookie
        socket = await joined(visitor, mode)
        assert await socket.call("count") == 1
        assert visitor.cookie == cookie
        assert len(store.ids) == 1


@each_mode
async def test_a_client_that_refuses_cookies_makes_one_session(tmp_path: Path, mode: str) -> None:
    """Polls, posts and the upgrade of a client without a jar stay with the handshake's session."""
    store = WatchedStore()
    transports = {"polling": ["polling"], "websocket": ["websocket"]}.get(mode, [])
    async with serve(tmp_path, store=store) as site:
        driver = await Driver.start()
        socket = await driver.connect(site.url, *transports, jar=False)
        for count in range(1, 6):
            assert await socket.call("incr") == count
        if mode == "upgraded":
            await until(lambda: socket.transports == ["polling", "websocket"])
            assert await socket.call("incr") == 6
        assert len(store.ids) == 1
        await driver.stop()


async def test_the_official_clients_own_jar_keeps_the_cookie(tmp_path: Path) -> None:
    """`withCredentials` on Node: the polling response's cookie goes out with the upgrade."""
    async with serve(tmp_path) as site:
        driver = await Driver.start()
        socket = await driver.connect(site.url, withCredentials=True)
        await until(lambda: socket.transports == ["polling", "websocket"])
        assert await socket.call("incr") == 1
        cookie = await driver.own_cookie(socket)
        async with Visitor(site.url, Cookie=cookie) as page:
            assert await page.incr() == 2
        await driver.stop()


@each_mode
async def test_a_cookie_given_as_extra_header_counts(tmp_path: Path, mode: str) -> None:
    """The official client's `extraHeaders` carry a page's cookie into the handshake."""
    transports = {"polling": ["polling"], "websocket": ["websocket"]}.get(mode, [])
    async with serve(tmp_path) as site, Visitor(site.url) as page:
        assert await page.incr() == 1
        driver = await Driver.start()
        socket = await driver.connect(site.url, *transports, extraHeaders={"cookie": page.cookie})
        assert await socket.call("count") == 1
        await driver.stop()


async def test_the_driver_goes_on_after_a_command_that_was_cancelled() -> None:
    """It drops the answer that nobody waits for, and passes the next one on."""
    driver = await Driver.start()
    cancelled = asyncio.ensure_future(driver.do("cookie"))
    await asyncio.sleep(0)
    assert driver._waiting
    cancelled.cancel()
    async with asyncio.timeout(10):
        assert await driver.do("cookie") == ""
    await driver.stop()


@each_client
async def test_two_browsers_share_nothing(tmp_path: Path, client: str) -> None:
    """Another browser has another session, and gets none of the first one's events."""
    async with (
        serve(tmp_path) as site,
        browser(client, site.url) as one,
        browser(client, site.url) as other,
    ):
        first, second = await joined(one, "websocket"), await joined(other, "websocket")
        assert await one.incr() == 1
        assert await other.incr() == 1
        await until(lambda: bool(second.received and first.received))
        assert first.received == second.received == [("current count", (1,))]


@pytest.mark.express("N1")
@each_client
@each_mode
async def test_socket_ios_session_counter_example(tmp_path: Path, client: str, mode: str) -> None:
    """With `python -m app`, increments by pages arrive in every tab as `current count`."""
    async with process(tmp_path / "data") as site, browser(client, site.url) as visitor:
        await visitor.get("/")
        tabs = [await joined(visitor, mode), await joined(visitor, mode)]
        for count in (1, 2, 3):
            assert await visitor.incr() == count
        wanted = [("current count", (count,)) for count in (1, 2, 3)]
        await until(lambda: all(tab.received == wanted for tab in tabs))
        assert (await visitor.get("/"))[0] == 200


@each_client
@each_mode
async def test_socket_ios_sign_in_example(tmp_path: Path, client: str, mode: str) -> None:
    """With `python -m app`, the ack of `whoami` is null, and after the sign-in the user."""
    async with process(tmp_path / "data") as site, browser(client, site.url) as visitor:
        stranger = await joined(visitor, mode)
        assert await stranger.call("whoami") is None
        await visitor.sign_up("ada")
        known = await joined(visitor, mode)
        assert await known.call("whoami") == "ada"


async def test_both_clients_share_one_session(tmp_path: Path) -> None:
    """A Node and a Python socket with one cookie count together and get each other's events."""
    async with serve(tmp_path) as site, NodeVisitor(site.url) as node:
        official = await joined(node, "upgraded")
        async with Visitor(site.url, Cookie=node.cookie) as other:
            python = await joined(other, "websocket")
            assert await official.call("incr") == 1
            assert await python.call("incr") == 2
            await until(lambda: official.received == [("current count", (2,))])
            await until(lambda: python.received == [("current count", (1,))])
            await python.close()
