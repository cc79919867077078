"""Events and namespaces that need a recent proof."""

from __future__ import annotations

import pytest

from app.sockets import event
from app.sockets.event_decorator import recent_sign_in_of
from app.sockets.event_table import EventTable
from app.testing import MovableClock
from tests.support.admins import acting
from tests.support.demo.session import BaseNamespace
from tests.support.site import Site
from tests.support.step_up import LATE, prove
from tests.support.visitor import Visitor

STALE = {"error": "reauthenticate"}


@pytest.mark.asvs("7.5.3")
async def test_an_event_needs_a_recent_proof(ann: Visitor, clock: MovableClock) -> None:
    """The ack asks for it; the events beside it go on."""
    await ann.sign_up("ann")
    socket = await ann.socket("/vault", transport="websocket")
    assert await socket.call("open", namespace="/vault") == "opened"
    clock.now += LATE
    assert await socket.call("open", namespace="/vault") == STALE
    assert await socket.call("take all", 5, namespace="/vault") == STALE
    assert await socket.call("take_all", 5, namespace="/vault") == {"error": "unknown event"}
    assert await socket.call("look", namespace="/vault") == "looked"
    wrong = await socket.call("take all", namespace="/vault")
    assert wrong == {"error": "take all does not take 0 arguments"}


async def test_a_namespace_needs_it_for_all_its_events(ann: Visitor, clock: MovableClock) -> None:
    """Those without a method too; a decorator lifts it for one."""
    await ann.sign_up("ann")
    socket = await ann.socket("/strict", transport="websocket")
    assert await socket.call("open", namespace="/strict") == "opened"
    clock.now += LATE
    assert await socket.call("open", namespace="/strict") == STALE
    assert await socket.call("anything", namespace="/strict") == STALE
    assert await socket.call("look", namespace="/strict") == "looked"


async def test_a_visitor_is_not_asked_for_a_proof(visitor: Visitor) -> None:
    """They have to sign in."""
    await visitor.incr()
    socket = await visitor.socket("/vault", transport="websocket")
    assert await socket.call("open", namespace="/vault") == {"error": "unauthorized"}


async def test_an_administrator_who_acts_as_the_user_is_refused(site: Site, ann: Visitor) -> None:
    """However recent their sign-in is."""
    await acting(site, ann)
    socket = await ann.socket("/vault", transport="websocket")
    answer = await socket.call("open", namespace="/vault")
    assert "only the user" in answer["error"]


async def test_a_proof_of_another_device_does_not_count(
    site: Site, ann: Visitor, clock: MovableClock
) -> None:
    """Its sockets stay stale."""
    async with Visitor(site.url) as two:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        other = await two.socket("/vault", transport="websocket")
        clock.now += LATE
        assert await prove(ann) == 204
        assert await other.call("open", namespace="/vault") == STALE


def test_an_override_keeps_the_minutes_of_the_method_that_it_overrides() -> None:
    """Unless it says others; 0 lifts them."""

    class Base:
        recent_sign_in = 3

        @event(recent_sign_in=10)
        async def on_pay(self, sid: str) -> None: ...

        @event(recent_sign_in=10)
        async def on_give(self, sid: str) -> None: ...

    class Own(Base):
        async def on_pay(self, sid: str) -> None: ...

        @event(recent_sign_in=0)
        async def on_give(self, sid: str) -> None: ...

        async def on_take(self, sid: str) -> None: ...

    assert recent_sign_in_of(Own, "on_pay") == 10
    assert recent_sign_in_of(Own, "on_give") == 0
    assert recent_sign_in_of(Own, "on_take") == 3


@pytest.mark.parametrize("minutes", [-1, True, "10"])
def test_minutes_that_are_none_are_refused(minutes: object) -> None:
    """At the start, with the name of the class."""

    class Wrong(BaseNamespace):
        recent_sign_in = minutes  # type: ignore[assignment]  # as a fork may write it

    with pytest.raises(ValueError, match=r"Wrong\.recent_sign_in is a number of minutes"):
        EventTable(Wrong)
    with pytest.raises(ValueError, match="give minutes"):
        event(recent_sign_in=-1)
