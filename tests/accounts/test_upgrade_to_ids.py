"""The upgrade from a release without account ids, with sessions of signed-in users."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from app.settings import Settings
from app.web.session_cookie import SessionCookie
from tests.support.accounts import account_id
from tests.support.demo.session import BaseHandler, BaseNamespace
from tests.support.fork import fork
from tests.support.forms import PASSWORD, count, send, who
from tests.support.old_release import OldSession, make_accounts, store_in_redis, store_in_sqlite
from tests.support.postgres import Place
from tests.support.redis_server import empty_redis
from tests.support.site import Site, serve
from tests.support.visitor import Visitor

KEYS = ("only-for-tests-0123456789",)
#: Rows of a fork, with the value of `session.user` at the time when they were stored.
NOTES = {"Zoë": "Zoë's note", "ann": "ann's note"}


class NotesHandler(BaseHandler):
    def get(self) -> None:
        self.write({"note": NOTES.get(self.session.user_id or "")})


class NotesNamespace(BaseNamespace):
    async def on_note(self, sid: str) -> str | None:
        return NOTES.get((await self.session_for(sid)).user_id or "")


class Upgrade:
    """A site whose data an older release has left."""

    def __init__(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on_redis = place.database != "sqlite"
        self.place = place.moved(place.data_dir / "data")
        self._modules = (
            *fork(
                monkeypatch,
                routes=[(r"/notes", NotesHandler)],
                namespaces=[("/notes", NotesNamespace)],
            ),
            "handlers.account",
        )
        self._store = empty_redis() if self.on_redis else "sqlite"

    def old_sessions(self, *sessions: OldSession) -> None:
        """Let the older release store these."""
        if self.on_redis:
            store_in_redis(sessions)
        else:
            store_in_sqlite(self.place.data_dir / "sessions.sqlite3", sessions)

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[Site]:
        """Serve it by this release."""
        async with serve(
            self.place.data_dir.parent,
            store=self._store,
            database=self.place.database,
            modules=self._modules,
            secret_keys=KEYS,
        ) as site:
            yield site


def browsers(stack: contextlib.AsyncExitStack, site: Site, ids: Sequence[str]) -> list[Any]:
    """Return browsers that have the cookies of these sessions."""
    signing = SessionCookie(Settings(), KEYS)
    found = []
    for id in ids:
        cookie = signing.set(id, secure=False, max_age=60).partition(";")[0]
        visitor = Visitor(site.url, Cookie=cookie)
        stack.push_async_callback(visitor.close)
        found.append(visitor)
    return found


@pytest.fixture
def upgrade(place: Place, monkeypatch: pytest.MonkeyPatch) -> Upgrade:
    """On SQLite, and on Redis with PostgreSQL."""
    return Upgrade(place, monkeypatch)


@pytest.mark.limit(60)
async def test_nobody_is_signed_out_and_own_rows_keep_their_accounts(upgrade: Upgrade) -> None:
    """Pages, sockets, the list of devices, the password and the sign-out everywhere else work."""
    make_accounts(upgrade.place, ["Zoë", "ann"])
    now = time.time()
    upgrade.old_sessions(
        OldSession("zoe-phone", "Zoë", now, count=7),
        OldSession("zoe-desk", "Zoë", now - 10),
        OldSession("ann-desk", "ann", now),
    )
    async with upgrade.served() as site, contextlib.AsyncExitStack() as stack:
        phone, desk, ann = browsers(stack, site, ["zoe-phone", "zoe-desk", "ann-desk"])
        assert [await who(visitor) for visitor in (phone, desk, ann)] == ["Zoë", "Zoë", "ann"]
        assert await count(phone) == 7
        assert (await phone.get("/notes")).json() == {"note": "Zoë's note"}
        socket = await desk.socket("websocket", namespaces=("/", "/notes"))
        assert await socket.call("whoami") == "Zoë"
        assert await socket.call("note", namespace="/notes") == "Zoë's note"
        devices = (await phone.get("/account", headers={"Accept": "application/json"})).json()
        assert (devices["user"], devices["user_id"]) == ("Zoë", "Zoë")
        assert len(devices["devices"]) == 2
        assert {one.id for one in await site.services.sessions.of_user("Zoë")} == {
            *("zoe-phone", "zoe-desk")
        }
        new = Visitor(site.url)
        stack.push_async_callback(new.close)
        await new.sign_in("ZOË")
        assert (await new.get("/notes")).json() == {"note": "Zoë's note"}
        assert (await send(new, "json", "/account/sessions/revoke-others")).status == 204
        assert await socket.ended() == "revoked"
        assert [await who(visitor) for visitor in (phone, desk, ann)] == [None, None, "ann"]


@pytest.mark.limit(60)
async def test_a_new_account_of_an_old_name_inherits_nothing(upgrade: Upgrade) -> None:
    """Old sessions end with the old account, and its rows belong to nobody."""
    make_accounts(upgrade.place, ["ann"])
    upgrade.old_sessions(OldSession("a", "ann", time.time()), OldSession("b", "ann", time.time()))
    async with upgrade.served() as site, contextlib.AsyncExitStack() as stack:
        one, two = browsers(stack, site, ["a", "b"])
        assert (await one.get("/notes")).json() == {"note": "ann's note"}
        assert (await send(one, "json", "/account/delete", password=PASSWORD)).status == 204
        assert await who(two) is None
        new = Visitor(site.url)
        stack.push_async_callback(new.close)
        await new.sign_up("ann")
        assert (await new.get("/notes")).json() == {"note": None}
        assert [await who(one), await who(two)] == [None, None]
        user_id = await account_id(site, "ann")
        assert user_id != "ann"
        assert len(await site.services.sessions.of_user(user_id)) == 1
        assert await site.services.sessions.of_user("ann") == []


@pytest.mark.limit(60)
async def test_what_the_older_release_stores_later_names_no_other_account(
    upgrade: Upgrade,
) -> None:
    """It runs beside this one for a while, or again: its users of new accounts sign in again."""
    make_accounts(upgrade.place, ["ann", "bob"])
    async with upgrade.served() as site:
        accounts = site.services.accounts
        account = await accounts.by_name("ann")
        assert await accounts.remove(account)
        await accounts.register("ann", PASSWORD)
    now = time.time()
    upgrade.old_sessions(
        *(OldSession("a", "ann", now), OldSession("b", "bob", now), OldSession("c", "ldap", now))
    )
    async with upgrade.served() as site, contextlib.AsyncExitStack() as stack:
        ann, bob, other = browsers(stack, site, "abc")
        # the rows of the first ann are not for the second, whom the older release signed in
        assert (await ann.get("/notes")).json() == {"note": None}
        assert [await who(one) for one in (ann, bob, other)] == [None, "bob", "ldap"]
        assert await site.services.sessions.load("a") is None


@pytest.mark.limit(60)
async def test_a_database_that_is_down_signs_out_nobody(upgrade: Upgrade) -> None:
    """Sessions of the older release are served, and checked when it is up again."""
    make_accounts(upgrade.place, ["ann"])
    upgrade.old_sessions(OldSession("a", "ann", time.time()))
    async with upgrade.served() as site, contextlib.AsyncExitStack() as stack:
        (ann,) = browsers(stack, site, ["a"])
        asked = site.services.sessions.records.old_users
        assert await asked.is_id("ann") is True
        site.services.accounts.calls._failed_at = float("inf")
        assert await asked.is_id("ann") is None
        assert await who(ann) == "ann"
