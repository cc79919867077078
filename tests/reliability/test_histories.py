"""Random histories of browsers, sockets, ends, restarts and keys, compared with a model."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.testing import PASSWORD, Socket
from tests.reliability.model import IDLE_TIMEOUT, Model, Session
from tests.support.browsers import MODES
from tests.support.clock import Clock
from tests.support.redis_server import empty_redis
from tests.support.site import Site, serve
from tests.support.visitor import Visitor

T = TypeVar("T")

_ROUND = 100.0  # seconds of the model's clock between two rounds of expiry
_LONGEST = 60.0  # seconds that one step may take on a busy machine
_BROWSERS = 3
_NAMES = ("ann", "bob")

browsers = st.integers(0, _BROWSERS - 1)
names = st.sampled_from(_NAMES)
places = st.integers(0, 1)


class History(RuleBasedStateMachine):
    """Does the same to a site and to the model; each step compares what both say."""

    how_many = 1  # processes
    store = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="latchkey-history-")
        self._runner = asyncio.Runner()
        self._stacks = [contextlib.AsyncExitStack() for _ in range(self.how_many)]
        self._numbers = itertools.count()
        self.model = Model()
        self.clock = Clock()
        self.keys = [self._new_key()]
        self.rotation = 0
        self.sites: list[Site] = []
        self.sockets: list[tuple[Socket, Session, int]] = []  # each with its session and process
        self._run(self._begin())

    def teardown(self) -> None:
        try:
            self._run(self._end())
        finally:
            self._runner.close()
            self._folder.cleanup()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(asyncio.wait_for(work, _LONGEST))

    def _new_key(self) -> str:
        return f"only-for-tests-{next(self._numbers):010}"

    async def _begin(self) -> None:
        if self.store != "sqlite":
            empty_redis()
        for number in range(self.how_many):
            self.sites.append(await self._start(number))
        self.visitors = [Visitor(self.sites[0].url) for _ in range(_BROWSERS)]

    async def _start(self, number: int) -> Site:
        # processes of one machine share the accounts of their data folder
        site = serve(
            Path(self._folder.name),
            store=self.store,
            clock=self.clock,
            secret_keys=tuple(self.keys),
            process_number=number,
            session_idle_timeout=IDLE_TIMEOUT,
            new_session_timeout=0.0,
            handshakes_per_minute=0,
            failed_logins_per_minute=0,
        )
        return await self._stacks[number].enter_async_context(site)

    async def _end(self) -> None:
        """Compare all that is left, at every process."""
        try:
            for browser, place in itertools.product(range(_BROWSERS), range(self.how_many)):
                await self._look(browser, place)
            for socket, session, _ in self.sockets:
                assert await socket.call("count") == session.count
        finally:
            for visitor in self.visitors:
                await visitor.close()
            for stack in self._stacks:
                await stack.aclose()

    def _at(self, browser: int, place: int) -> Visitor:
        visitor = self.visitors[browser]
        visitor.url = self.sites[place % self.how_many].url
        return visitor

    async def _look(self, browser: int, place: int) -> None:
        """Compare the user of a browser; this is no activity."""
        status, text, *_ = await self._at(browser, place).get("/session")
        assert status == 200
        user = self.model.user(browser)
        assert f'"user": "{user}"' in text or (user is None and '"user": null' in text), text

    async def _settle(self) -> None:
        """Wait for the end of each socket whose session has ended, and compare the reason."""
        for socket, session, _ in self.sockets:
            if session.ended:
                reason = await socket.ended()
                # a process that missed the news finds that the record is gone
                assert reason in (session.ended, "revoked"), reason
        self.sockets = [each for each in self.sockets if not each[1].ended]

    # -- accounts --

    @rule(browser=browsers, name=names, place=places)
    def register(self, browser: int, name: str, place: int) -> None:
        self._run(self._register(browser, name, place))

    async def _register(self, browser: int, name: str, place: int) -> None:
        self.model.touch(browser)
        account = {"username": name, "password": PASSWORD}
        status, text, *_ = await self._at(browser, place).post("/register", json=account)
        assert status == (422 if name in self.model.accounts else 204), text
        if status == 204:
            self.model.accounts.add(name)
            self.model.sign_in(browser, name)
            await self._settle()

    @rule(browser=browsers, name=names, place=places, right=st.sampled_from((True, True, False)))
    def login(self, browser: int, name: str, place: int, right: bool) -> None:
        self._run(self._login(browser, name, place, right))

    async def _login(self, browser: int, name: str, place: int, right: bool) -> None:
        self.model.touch(browser)
        account = {"username": name, "password": PASSWORD if right else "not the right one"}
        status, text, *_ = await self._at(browser, place).post("/login", json=account)
        works = right and name in self.model.accounts
        assert status == (204 if works else 401), text
        if works:
            self.model.sign_in(browser, name)
            await self._settle()

    @rule(browser=browsers, place=places)
    def logout(self, browser: int, place: int) -> None:
        self._run(self._logout(browser, place))

    async def _logout(self, browser: int, place: int) -> None:
        assert (await self._at(browser, place).post("/logout"))[0] == 204
        self.model.sign_out(browser)
        await self._settle()

    @rule(browser=browsers, place=places)
    def revoke_others(self, browser: int, place: int) -> None:
        if self.model.user(browser):
            self._run(self._revoke_others(browser, place))

    async def _revoke_others(self, browser: int, place: int) -> None:
        answer = await self._at(browser, place).post("/account/sessions/revoke-others", json={})
        assert answer.status in (204, 303), answer
        self.model.touch(browser)
        self.model.revoke_others(browser)
        await self._settle()

    # -- sessions --

    @rule(browser=browsers, place=places)
    def page_edit(self, browser: int, place: int) -> None:
        session = self.model.open(browser)
        assert self._run(self._at(browser, place).incr()) == self.model.increment(session)

    @rule(browser=browsers, place=places)
    def look(self, browser: int, place: int) -> None:
        self._run(self._look(browser, place))

    @rule(half=st.booleans())
    def expire(self, half: bool) -> None:
        """Half the idle timeout goes by, and a little more, or more than the whole."""
        self._run(self._advance(600.0 if half else 1200.0))

    async def _advance(self, seconds: float) -> None:
        for _ in range(int(seconds / _ROUND)):
            self.clock.now += _ROUND
            for site in self.sites:
                await site.services.expiry.run_round()
        self.model.advance(seconds)
        await self._settle()

    # -- sockets --

    @rule(browser=browsers, place=places, mode=st.sampled_from(sorted(MODES)))
    def connect(self, browser: int, place: int, mode: str) -> None:
        if len(self.sockets) < 6:
            self._run(self._connect(browser, place, mode))

    async def _connect(self, browser: int, place: int, mode: str) -> None:
        session = self.model.open(browser)
        socket = await self._at(browser, place).socket(*MODES[mode])
        assert await socket.call("whoami") == session.user
        self.sockets.append((socket, session, place % self.how_many))

    @precondition(lambda self: self.sockets)
    @rule(data=st.data())
    def event_edit(self, data: st.DataObject) -> None:
        socket, session, _ = self.sockets[data.draw(st.integers(0, len(self.sockets) - 1))]
        assert self._run(socket.call("incr")) == self.model.increment(session)

    @precondition(lambda self: self.sockets)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        socket, *_ = self.sockets.pop(data.draw(st.integers(0, len(self.sockets) - 1)))
        self._run(socket.close())

    # -- processes --

    @rule(place=places)
    def restart(self, place: int) -> None:
        self._run(self._restart(place % self.how_many))

    async def _restart(self, number: int) -> None:
        await self._stacks[number].aclose()
        for socket, session, place in self.sockets:
            if place == number:
                # it comes back with the same session
                assert await socket.ended() not in ("logout", "revoked", "idle", "expired"), session
        self.sockets = [each for each in self.sockets if each[2] != number]
        self.sites[number] = await self._start(number)

    @rule()
    def rotate_key(self) -> None:
        """One step of docs/deploy.md: add a key in front, let it sign, or take the old one out."""
        self._run(self._rotate())

    async def _rotate(self) -> None:
        if self.rotation == 0:
            self.keys.insert(0, self._new_key())
        elif self.rotation == 1:
            self.keys.reverse()
        else:
            for browser in range(_BROWSERS):  # they get cookies that the new key has signed
                await self._at(browser, 0).get("/")
                self.model.touch(browser)
            del self.keys[0]
        self.rotation = (self.rotation + 1) % 3
        for number in range(self.how_many):
            await self._restart(number)
            for browser, place in itertools.product(range(_BROWSERS), range(self.how_many)):
                await self._look(browser, place)


class SharedHistory(History):
    """Two processes on one Redis."""

    how_many = 2

    def __init__(self) -> None:
        self.store = empty_redis()
        super().__init__()


@pytest.mark.parametrize("history", [History, SharedHistory], ids=["one", "two"])
def test_a_site_does_what_the_model_says(history: type[History], seconds: float) -> None:
    """The short form runs the same histories every time, the long one others every time."""
    bounded = settings(
        max_examples=20,
        stateful_step_count=30,
        derandomize=not seconds,
        database=None,
        deadline=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink) if seconds else (Phase.generate,),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    end = time.monotonic() + seconds
    while True:
        run_state_machine_as_test(history, settings=bounded)
        if time.monotonic() >= end:
            break
