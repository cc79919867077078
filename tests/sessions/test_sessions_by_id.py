"""Sessions found, edited and ended by id, from anywhere."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.sessions import SessionEnded
from app.testing import MovableClock
from tests.support.accounts import account_id
from tests.support.browsers import session_id
from tests.support.forms import PASSWORD, who
from tests.support.site import Site, serve
from tests.support.sites import sites
from tests.support.visitor import Visitor


@contextlib.asynccontextmanager
async def two_places(kind: str, tmp_path: Path) -> AsyncIterator[tuple[Site, Site]]:
    """Return where the user is, and where the fork's code runs: another process over Redis."""
    if kind == "redis":
        async with sites(tmp_path) as (one, two):
            yield one, two
    else:
        async with serve(tmp_path, store=None if kind == "memory" else kind) as site:
            yield site, site


every_place = pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])


@every_place
async def test_a_session_is_edited_by_its_id(kind: str, tmp_path: Path) -> None:
    """The page and the socket of the session see the change; the block may read and raise."""
    async with two_places(kind, tmp_path) as (here, elsewhere), Visitor(here.url) as visitor:
        await visitor.incr()
        id, sessions = session_id(visitor.cookie), elsewhere.services.sessions
        async with sessions.edit(id) as data:
            assert data.count == 1
            data.count = 41
        assert await visitor.incr() == 42
        with pytest.raises(ZeroDivisionError):
            async with sessions.edit(id) as data:
                data.count = 1 // 0
        assert await visitor.incr() == 43


@every_place
async def test_an_edit_of_an_ended_session_raises(kind: str, tmp_path: Path) -> None:
    """Ended here or in another process, unknown, or a visitor's that is not stored."""
    async with two_places(kind, tmp_path) as (here, elsewhere), Visitor(here.url) as visitor:
        await visitor.incr()
        id, sessions = session_id(visitor.cookie), elsewhere.services.sessions
        async with sessions.edit(id):
            pass
        assert await here.services.sessions.end(id)
        assert not await sessions.end(id)
        for ended in (id, "unknown", ""):
            with pytest.raises(SessionEnded):
                async with sessions.edit(ended) as data:
                    data.count = 1
        assert await here.services.sessions.load(id) is None


@every_place
async def test_the_sessions_of_an_account_are_listed_and_ended_by_its_id(
    kind: str, tmp_path: Path
) -> None:
    """However the name was spelt at each sign-in; those of others stay."""
    async with (
        two_places(kind, tmp_path) as (here, elsewhere),
        Visitor(here.url) as one,
        Visitor(here.url) as two,
        Visitor(here.url) as three,
        Visitor(here.url) as bob,
    ):
        await one.sign_up("Zoë")
        await two.sign_in("zoe\u0308", PASSWORD)
        await three.sign_in("ＺＯË", PASSWORD)
        await bob.sign_up("bob")
        user_id, sessions = await account_id(here, "zoë"), elsewhere.services.sessions
        found = await sessions.of_user(user_id)
        assert {session.id for session in found} == {
            session_id(visitor.cookie) for visitor in (one, two, three)
        }
        assert {(session.user, session.user_id) for session in found} == {("Zoë", user_id)}
        assert len(await sessions.of_user(user_id, 1)) == 1
        sockets = [await visitor.socket("websocket") for visitor in (one, two, three)]
        assert await sessions.end(session_id(one.cookie), "logout")
        assert await sockets[0].ended() == "logout"
        assert await sessions.end_user(user_id, keep=session_id(three.cookie)) == 1
        assert await sockets[1].ended() == "revoked"
        assert [await who(visitor) for visitor in (one, two, three)] == [None, None, "Zoë"]
        assert await sessions.end_user(user_id) == 1
        assert await sockets[2].ended() == "revoked"
        assert await sessions.end_user(user_id) == 0
        assert await sessions.of_user(user_id) == []
        assert await sessions.of_user("Zoë") == []
        assert await who(bob) == "bob"


async def test_a_list_leaves_out_sessions_whose_time_is_over(tmp_path: Path) -> None:
    """Though no round of the expiry has removed them."""
    clock = MovableClock()
    async with serve(tmp_path, clock=clock) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        user_id, sessions = await account_id(site, "ann"), site.services.sessions
        assert len(await sessions.of_user(user_id)) == 1
        clock.now += 40 * 86_400
        assert await sessions.of_user(user_id) == []
        with pytest.raises(SessionEnded):
            async with sessions.edit(session_id(ann.cookie)):
                pass
