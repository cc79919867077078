"""Roles at two processes over one Redis and one PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app import role_sockets
from app.web.require_role import require_role
from tests.support.browsers import each_transport
from tests.support.demo.session import BaseHandler, BaseNamespace
from tests.support.fork import fork
from tests.support.postgres import Postgres
from tests.support.site import Site
from tests.support.sites import sites
from tests.support.users import user_id
from tests.support.visitor import Visitor
from tests.support.waiting import until

REFUSED = {"error": "Only users with the role moderator may do that."}


class Desk(BaseNamespace):
    """Moderators only."""

    role_required = "moderator"

    async def on_work(self, sid: str) -> str:
        return "done"


class DeskHandler(BaseHandler):
    """A page for moderators."""

    @require_role("moderator")
    def get(self) -> None:
        self.write("the desk")


@pytest.fixture
async def two(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Site]]:
    """Two processes that never look by themselves whether sockets still have their role."""
    monkeypatch.setattr(role_sockets, "_CHECK_INTERVAL", 3600.0)
    modules = fork(monkeypatch, namespaces=[("/desk", Desk)], routes=[("/desk", DeskHandler)])
    database = postgres.url(postgres.database())
    async with sites(tmp_path, modules=modules, database=database) as places:
        yield places


@contextlib.asynccontextmanager
async def moderator(site: Site, name: str = "ann") -> AsyncIterator[Visitor]:
    """A browser at this process, whose user has the role."""
    async with Visitor(site.url) as ann:
        await ann.sign_up(name)
        await site.services.roles.set(await user_id(site, ann), add=["moderator"])
        yield ann


@pytest.mark.asvs("8.3.2")
@each_transport
async def test_a_role_that_one_process_takes_is_lost_at_the_other(
    two: list[Site], transport: str
) -> None:
    """The next page is refused, sockets leave the namespace, and stay in the other one."""
    here, there = two
    async with moderator(here) as ann:
        ann_id = await user_id(here, ann)
        ann.url = there.url
        assert await ann.get("/desk") == (200, "the desk")
        desk = await ann.socket(transport, "/desk", "/")
        assert await desk.call("work") == "done"
        await here.services.roles.set(ann_id, remove=["moderator"])
        assert (await ann.get("/desk")).status == 403
        assert await desk.ended() == "server disconnect"
        assert await desk.call("incr", namespace="/") == 1
        await here.services.roles.set(ann_id, add=["moderator"])
        assert await ann.get("/desk") == (200, "the desk")
        again = await ann.socket("/desk")
        assert await again.call("work") == "done"


async def test_an_event_is_refused_a_second_after_a_change_that_was_not_told(
    two: list[Site],
) -> None:
    """As when the message is lost: what events remember ends by itself."""
    here, there = two
    async with moderator(here) as ann:
        ann_id = await user_id(here, ann)
        ann.url = there.url
        desk = await ann.socket("/desk")
        assert await desk.call("work") == "done"
        here.services.accounts.on_changed.clear()
        await here.services.roles.set(ann_id, remove=["moderator"])

        async def refused() -> bool:
            answer: object = await desk.call("work")
            return answer == REFUSED

        await until(refused)
