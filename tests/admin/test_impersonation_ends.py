"""What ends an administrator's session as another user: with its sockets, in all processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app.impersonation import MAX_AGE
from app.testing import PASSWORD
from tests.support.accounts import account_id
from tests.support.admins import acting, disable, each_place, stop, take_roles, two_places
from tests.support.browsers import ended, joined
from tests.support.clock import Clock
from tests.support.devices import NEW
from tests.support.forms import send, who
from tests.support.postgres import Postgres
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until

pytestmark = pytest.mark.limit(60)


class Case:
    """An administrator at one process who is signed in as ann, and another process."""

    def __init__(self, there: Site, user: str, root: str) -> None:
        self.there, self.user, self.root = there, user, root
        self.services = there.services

    async def set_disabled(self, id: str) -> None:
        """Disable an account as an operator does."""
        await disable(self.there, id)
        await self.services.accounts.on_changed.tell(id)

    async def sign_out_elsewhere(self) -> None:
        """Let the administrator sign out everywhere else, on another device."""
        async with Visitor(self.there.url) as phone:
            await phone.sign_in("root")
            await send(phone, "json", "/account/sessions/revoke-others")

    async def change_password(self) -> None:
        async with Visitor(self.there.url) as phone:
            await phone.sign_in("root")
            await send(phone, "json", "/account/password", password=PASSWORD, new_password=NEW)

    async def lose_role(self) -> None:
        await self.services.roles.set(self.root, remove=["admin"])

    async def disable_administrator(self) -> None:
        await self.set_disabled(self.root)

    async def disable_user(self) -> None:
        await self.set_disabled(self.user)

    async def make_user_an_administrator(self) -> None:
        await self.services.roles.set(self.user, add=["admin"])

    async def delete(self, id: str) -> None:
        account = await self.services.accounts.by_id(id)
        await self.services.sessions.end_user(id)
        await self.services.accounts.remove(account)

    async def delete_administrator(self) -> None:
        await self.delete(self.root)

    async def delete_user(self) -> None:
        await self.delete(self.user)

    async def user_signs_out_everywhere_else(self) -> None:
        async with Visitor(self.there.url) as phone:
            await phone.sign_in("ann")
            await send(phone, "json", "/account/sessions/revoke-others")


ENDS: dict[str, Callable[[Case], Awaitable[None]]] = {
    "signed out elsewhere": Case.sign_out_elsewhere,
    "password changed": Case.change_password,
    "role lost": Case.lose_role,
    "administrator disabled": Case.disable_administrator,
    "administrator deleted": Case.delete_administrator,
    "user disabled": Case.disable_user,
    "user became administrator": Case.make_user_an_administrator,
    "user deleted": Case.delete_user,
    "user signed out elsewhere": Case.user_signs_out_everywhere_else,
}


@pytest.mark.asvs("7.4.2")
@each_place
@pytest.mark.parametrize("what", ENDS)
async def test_it_ends_with_all_sockets_and_stays_ended(
    tmp_path: Path, kind: str, what: str, postgres: Postgres
) -> None:
    """At both processes at once; no session of the browser is left, the administrator's neither."""
    async with (
        two_places(tmp_path, kind, postgres) as (here, there),
        Visitor(here.url) as root,
    ):
        user, admin = await acting(here, root)
        mine = await joined(root, "websocket")
        root.url = there.url
        other = await joined(root, "polling")
        assert await other.call("whoami") == "ann"
        await ENDS[what](Case(there, user, admin))
        for socket in (mine, other):
            await until(lambda socket=socket: ended(socket))
            assert ended(socket) == [{"reason": "revoked", "reconnect": True}]
        for site in (here, there):
            root.url = site.url
            assert await who(root) is None
            await stop(root)
            assert await who(root) is None, "its end cannot be stopped"
        for id in (user, admin):
            left = await here.services.sessions.of_user(id)
            assert [each for each in left if each.actor or each.authentication.acting_as] == []


@pytest.mark.asvs("7.3.2")
async def test_it_ends_after_an_hour_of_activity(tmp_path: Path) -> None:
    """Whatever the limits of other sessions are; the browser's cookie says so too."""
    clock = Clock()
    async with (
        serve(
            tmp_path,
            clock=clock,
            expiry_interval=0.05,
            session_idle_timeout=0.0,
            session_max_age=0.0,
        ) as site,
        Visitor(site.url) as root,
    ):
        begin = clock.now
        _, admin = await acting(site, root)
        (cookie,) = [each for each in root.jar if not each.key.endswith("-device")]
        assert cookie["max-age"] == str(int(MAX_AGE))
        socket = await joined(root, "websocket")
        for _ in range(3):
            clock.now += MAX_AGE / 4
            assert await socket.call("incr")
            assert await who(root) == "ann"
        answer = (await root.get("/session")).json()
        assert answer["expires"] == answer["expires_at_latest"] == int(begin + MAX_AGE)
        clock.now = begin + MAX_AGE + 1
        await until(lambda: ended(socket) == [{"reason": "expired", "reconnect": True}])
        assert await who(root) is None
        assert await site.services.sessions.of_user(admin) == []


async def test_pages_keep_the_administrators_own_session_from_being_idle(tmp_path: Path) -> None:
    """An administrator who works as another user is active in their own session too."""
    clock = Clock()
    async with (
        serve(tmp_path, clock=clock, session_idle_timeout=600.0) as site,
        Visitor(site.url) as root,
    ):
        await acting(site, root)
        for _ in range(4):
            clock.now += 400
            assert await who(root) == "ann"
        await stop(root)
        assert await who(root) == "root"


@pytest.mark.asvs("7.4.1")
async def test_signing_out_ends_both_sessions(site: Site, visitor: Visitor) -> None:
    """The browser is a visitor's, and nothing of the administrator is left."""
    user, root = await acting(site, visitor)
    await visitor.sign_out()
    assert await who(visitor) is None
    assert await site.services.sessions.of_user(user) == []
    assert await site.services.sessions.of_user(root) == []


async def test_it_ends_at_its_next_use_if_nobody_was_told(site: Site, visitor: Visitor) -> None:
    """As if the process that ended the administrator's session had died before it told."""
    for what in ("own session", "role"):
        user, root = await _again(site, visitor) if what == "role" else await acting(site, visitor)
        if what == "role":
            await take_roles(site, root)
        else:
            (own,) = await site.services.sessions.of_user(root)
            await site.services.sessions.store.destroy(own.id)
        assert await who(visitor) is None, what
        assert await site.services.sessions.of_user(user) == []


async def _again(site: Site, visitor: Visitor) -> tuple[str, str]:
    await visitor.sign_in("root")
    user = await account_id(site, "ann")
    assert (await send(visitor, "json", f"/admin/accounts/{user}/sign-in-as")).status == 204
    return user, await account_id(site, "root")


async def test_a_connected_session_ends_if_nobody_was_told(tmp_path: Path) -> None:
    """The periodic check finds it."""
    async with serve(tmp_path) as site, Visitor(site.url) as root:
        _, admin = await acting(site, root)
        socket = await joined(root, "websocket")
        (own,) = await site.services.sessions.of_user(admin)
        await site.services.sessions.store.destroy(own.id)
        await site.services.expiry.reconcile()
        await until(lambda: ended(socket) == [{"reason": "revoked", "reconnect": True}])
