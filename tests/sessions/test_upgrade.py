"""`SessionData.upgrade`: stored data of an older type becomes data of the current one."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.sessions.manager import Sessions
from app.sessions.session import SessionEnded
from app.stores.memory import MemoryStore
from app.testing import Visitor, serve
from tests.support.browsers import session_id
from tests.support.demo import MODULES
from tests.support.sessions import sessions_over

serial = itertools.count()


class Old(msgspec.Struct):
    """A counter of words, as a release before had it."""

    count: str = "0"
    nick: str = ""


class New(msgspec.Struct):
    """The count is a number now, and the nick is gone."""

    count: int = 0
    number: int = 0  # of the upgrade that made it

    @staticmethod
    def upgrade(old: dict[str, Any]) -> New:
        return New(count=int(old["count"]), number=next(serial))


async def stored_as_old(store: MemoryStore, **fields: str) -> str:
    """Store a session with old data, and return its id."""
    sessions = sessions_over(store, Old)
    session = await sessions.create(remote_address="", user_agent="")
    async with session as data:
        for name, value in fields.items():
            setattr(data, name, value)
    return session.id


async def test_old_data_is_upgraded_for_readers_and_editors() -> None:
    """An edit stores it in the new form, without fields that `upgrade` did not take over."""
    store = MemoryStore()
    id = await stored_as_old(store, count="41", nick="ann")
    sessions: Sessions[New] = sessions_over(store, New)
    session = await sessions.load(id)
    assert session is not None
    assert session.data.count == 41
    async with sessions.session_for(id) as data:
        data.count += 1
    record = await store.load(id)
    assert record is not None
    assert msgspec.msgpack.decode(record.data).keys() == {"count", "number"}
    assert (await sessions.session_for(id)).data.count == 42


async def test_an_upgrade_that_gives_another_result_each_time_is_no_change() -> None:
    """A page that only reads stores nothing, and is not told that it changed something."""
    store = MemoryStore()
    sessions: Sessions[New] = sessions_over(store, New)
    session = await sessions.load(await stored_as_old(store, count="1"))
    assert session is not None
    before = await store.load(session.id)
    _ = session.data
    session.check_unchanged()
    async with session:
        pass
    assert await store.load(session.id) == before


async def test_data_that_decodes_is_not_upgraded() -> None:
    """So `upgrade` costs nothing, and a new session never meets it."""
    sessions: Sessions[New] = sessions_over(MemoryStore(), New)
    session = await sessions.create(remote_address="", user_agent="")
    before = next(serial)
    async with session as data:
        data.count = 1
    assert (await sessions.session_for(session.id)).data.count == 1
    assert next(serial) == before + 1


class Raises(New):
    """It does not know the old form."""

    @staticmethod
    def upgrade(old: dict[str, Any]) -> New:
        raise KeyError(old["count"])


class ReturnsOther(New):
    """It forgets to return the data."""

    @staticmethod
    def upgrade(old: dict[str, Any]) -> Any:
        return None


class ReturnsWrong(New):
    """It returns data whose field has another type."""

    @staticmethod
    def upgrade(old: dict[str, Any]) -> Any:
        return ReturnsWrong(count=old["count"])


@pytest.mark.parametrize("door", ["load", "edit"])
@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Raises, "upgrade() raised KeyError at test_upgrade.py:"),
        (ReturnsOther, "upgrade() returned NoneType, not ReturnsOther"),
        (ReturnsWrong, "what upgrade() returned is wrong: ReturnsWrong: Expected `int`"),
    ],
)
async def test_an_upgrade_that_fails_ends_the_session(
    door: str, kind: type[New], sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged without a value of the session, and the lock is free."""
    store = MemoryStore()
    id = await stored_as_old(store, count="a secret")
    sessions: Sessions[Any] = sessions_over(store, kind)
    if door == "load":
        assert await sessions.load(id) is None
    else:
        with pytest.raises(SessionEnded):
            await sessions.session_for(id).begin()
    assert await store.load(id) is None
    assert "Expected `int`, got `str` - at `$.count`; " + sentence in caplog.text
    assert "a secret" not in caplog.text
    assert (await store.lock(id)).record is None


class HasField(msgspec.Struct):
    """A field may have this name; it is no function then."""

    count: int = 0
    upgrade: bool = False


async def test_a_field_may_be_named_upgrade(caplog: pytest.LogCaptureFixture) -> None:
    """The data is as invalid as without the function."""
    store = MemoryStore()
    id = await stored_as_old(store, count="1")
    assert await sessions_over(store, HasField).load(id) is None
    assert "upgrade()" not in caplog.text


class Both(msgspec.Struct):
    """What the release between the two has: it reads both forms and writes the old one."""

    count: int | str = "0"


async def test_a_release_that_reads_both_forms_bridges_a_rolling_deploy() -> None:
    """Old, bridge and new processes over one store: nobody is signed out."""
    store = MemoryStore()
    id = await stored_as_old(store, count="1")
    bridge: Sessions[Both] = sessions_over(store, Both)
    new: Sessions[New] = sessions_over(store, New)
    async with bridge.session_for(id) as both:
        both.count = str(int(both.count) + 1)
    assert (await sessions_over(store, Old).session_for(id)).data.count == "2"
    async with new.session_for(id) as data:
        data.count += 1
    assert (await bridge.session_for(id)).data.count == 3


async def test_an_older_process_ends_a_session_that_it_cannot_read() -> None:
    """Without that bridge, a session is over when it goes back to a process of the old release."""
    store = MemoryStore()
    id = await stored_as_old(store, count="1")
    async with sessions_over(store, New).session_for(id) as data:
        data.count += 1
    assert await sessions_over(store, Old).load(id) is None


class NewCount(msgspec.Struct):
    """The demo's count in another form."""

    count: int = 0

    @staticmethod
    def upgrade(old: dict[str, Any]) -> NewCount:
        return NewCount(count=int(old["count"]))


async def test_a_user_stays_signed_in_over_an_upgrade(tmp_path: Path) -> None:
    """Pages, sockets and a second sign-in take over the old data."""
    options: dict[str, Any] = {"modules": MODULES, "store": "sqlite", "data_dir": tmp_path}
    async with serve(**options, data_type=Old) as site:
        ann = Visitor(site.url)
        await ann.register("ann")
        async with site.services.sessions.session_for(session_id(ann.cookie)) as data:
            data.count = "5"
    async with serve(**options, data_type=NewCount) as site, ann:
        ann.url = site.url
        socket = await ann.socket()
        assert await socket.call("count") == 5
        assert (await ann.get("/session")).json()["user"] == "ann"
        await ann.sign_in("ann")
        assert await socket.ended() == "regenerated"
        assert await ann.post("/incr") == (200, "6")
