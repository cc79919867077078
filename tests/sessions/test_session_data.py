"""The typed data of a session: changes, refusals, and stored data that no longer fits."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from app.sessions.errors import InvalidData
from app.sessions.manager import Sessions
from app.sessions.session import SessionEnded
from app.stores import Record
from app.stores.memory import MemoryStore
from tests.support.counting_store import CountingStore
from tests.support.sessions import Data, Profile, made, sessions_over, stored


@pytest.mark.express("A14")
async def test_a_misspelt_field_is_refused_in_a_block() -> None:
    """`data.cuont` is not a field of the type."""
    sessions, session = await made(MemoryStore())
    with pytest.raises(AttributeError, match="cuont"):
        async with session as data:
            data.cuont = 1  # type: ignore[attr-defined]
    assert await stored(sessions, session.id) == Data()


@pytest.mark.express("I5")
async def test_nested_changes_count() -> None:
    """The encoded data is compared, so any change counts."""
    sessions, session = await made(MemoryStore())
    async with session as data:
        data.items.append({"a": [1]})
        data.tags.add("x")
        data.profile.name = "Anna"
    async with session as data:
        data.items[0]["a"].append(2)
    assert await stored(sessions, session.id) == Data(
        tags={"x"}, items=[{"a": [1, 2]}], profile=Profile("Anna")
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.items.append(1),
        lambda data: data.tags.add("x"),
        lambda data: setattr(data.profile, "name", "Anna"),
        lambda data: data.items.append(object()),
    ],
)
async def test_nested_changes_outside_of_a_block_are_refused(change: Any) -> None:
    """They would be lost, so the check before the response raises, and so does the next block."""
    sessions, session = await made(MemoryStore())
    session.check_unchanged()
    change(session.data)
    with pytest.raises(RuntimeError, match=r"async with self\.session as data"):
        session.check_unchanged()
    with pytest.raises(RuntimeError, match="outside of its block"):
        async with session:
            raise AssertionError("the block must not begin")
    assert await stored(sessions, session.id) == Data()


async def test_a_session_with_sets_is_unchanged_when_loaded_and_after_a_block() -> None:
    """The order in which a set is decoded makes no difference."""
    sessions, session = await made(MemoryStore())
    async with session as data:
        data.tags |= {str(number) for number in range(50)}
    session.check_unchanged()
    (await sessions.session_for(session.id)).check_unchanged()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"count": "one"}, "count"),
        ({"count": 1.5}, "count"),
        ({"count": 2**70}, "count"),
        ({"count": None}, "count"),
        ({"tags": {1}}, "tags"),
        ({"items": [object()]}, "items"),
        ({"profile": Profile(1)}, "profile.name"),  # type: ignore[arg-type]
    ],
)
async def test_data_of_a_wrong_type_is_refused_by_name(change: dict[str, Any], name: str) -> None:
    """Leaving the block raises an error that names the field, and releases the lock."""
    sessions, session = await made(MemoryStore())
    with pytest.raises(InvalidData, match=rf"{name}.*nothing was stored"):  # noqa: PT012
        async with session as data:
            data.count = 1
            for field, value in change.items():
                setattr(data, field, value)
    assert await stored(sessions, session.id) == Data()
    async with session as data:
        data.count = 2
    assert await stored(sessions, session.id) == Data(count=2)


async def test_data_in_a_circle_is_refused() -> None:
    """A list that contains itself does not crash the process."""
    _, session = await made(MemoryStore())
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(InvalidData, match="items"):
        async with session as data:
            data.items = circle


async def test_a_deleted_field_is_refused_by_name() -> None:
    """`del data.count` leaves nothing to store."""
    _, session = await made(MemoryStore())
    with pytest.raises(InvalidData, match=r"count.*nothing was stored"):
        async with session as data:
            del data.count


class Renewed(msgspec.Struct):
    """The type of a later release, with one more field."""

    count: int = 0
    name: str = "nobody"


async def test_a_later_release_reads_old_data_and_writes_only_what_changes() -> None:
    """A new field has its default; neither loading nor an unchanged block counts as a change."""
    store = CountingStore(MemoryStore())

    class Old(msgspec.Struct):
        count: int = 0

    old = await sessions_over(store, Old).create(remote_address="", user_agent="")
    sessions = sessions_over(store, Renewed)
    session = await sessions.session_for(old.id)
    session.check_unchanged()
    store.calls.clear()
    async with session as data:
        assert data.name == "nobody"
    session.check_unchanged()
    assert store.calls == ["lock", "release"]
    async with session as data:
        data.name = "Anna"
    assert (await sessions.session_for(old.id)).data.name == "Anna"


async def spoiled(sessions: Sessions[Data], data: bytes) -> str:
    """Store a session with this data and return its id."""
    clock = sessions.clock()
    record = Record(id="spoiled", data=data, created=clock, seen=clock, expires=clock + 1000)
    await sessions.store.save(record)
    return record.id


MISFITS = [b"", b"\xc1", b"junk", msgspec.msgpack.encode({"count": "x"}), b"\x91" * 100_000]


@pytest.mark.express("C5")
@pytest.mark.parametrize("data", MISFITS, ids=range(len(MISFITS)))
@pytest.mark.parametrize("door", ["load", "edit"])
async def test_stored_data_that_does_not_fit_ends_the_session(
    data: bytes, door: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, listeners are called, and the lock is free."""
    sessions = sessions_over(MemoryStore())
    heard: list[str] = []

    async def listener(session_id: str, reason: str, record: Record | None) -> None:
        heard.append(reason)

    sessions.on_end.append(listener)
    session_id = await spoiled(sessions, data)
    if door == "load":
        assert await sessions.load(session_id) is None
    else:
        with pytest.raises(SessionEnded):
            async with sessions.session_for(session_id):
                raise AssertionError("the block must not begin")
    assert await sessions.store.load(session_id) is None
    assert heard == ["revoked"]
    assert len([line for line in caplog.messages if "does not fit" in line]) == 1
    await (await asyncio.wait_for(sessions.store.lock(session_id), 2)).release()


class Tidy(msgspec.Struct):
    """Data that corrects itself when it is decoded, and has a rule."""

    count: int = 0
    limit: int = 10

    def __post_init__(self) -> None:
        self.limit = max(self.limit, 5)
        if self.count > self.limit:
            raise ArithmeticError("count is above limit")


async def test_session_data_may_correct_its_own_fields() -> None:
    """A `__post_init__` may assign, also for snapshots, which refuse other assignments."""
    sessions = sessions_over(MemoryStore(), Tidy)
    session = await sessions.create(remote_address="", user_agent="")
    async with session as data:
        data.limit = 1
    session.check_unchanged()
    assert (await sessions.session_for(session.id)).data.limit == 5
    with pytest.raises(AttributeError, match="read-only"):
        session.data.limit = 7


async def test_a_rule_of_session_data_may_raise_anything() -> None:
    """Data that breaks the rule is not stored; stored data that breaks it ends the session."""
    sessions = sessions_over(MemoryStore(), Tidy)
    session = await sessions.create(remote_address="", user_agent="")
    with pytest.raises(InvalidData, match="above limit"):
        async with session as data:
            data.count = 11
    session_id = await spoiled(sessions, msgspec.msgpack.encode({"count": 11}))
    assert await sessions.load(session_id) is None
    with pytest.raises(SessionEnded):
        async with sessions.session_for(session_id):
            raise AssertionError("the block must not begin")


def test_a_field_without_default_is_refused_at_the_start() -> None:
    """The message says what to do."""

    class Bare(msgspec.Struct):
        name: str

    with pytest.raises(TypeError, match="each of its fields needs a default"):
        sessions_over(MemoryStore(), Bare)


@pytest.mark.parametrize(
    "options",
    [
        {"frozen": True},
        {"array_like": True},
        {"forbid_unknown_fields": True},
        {"omit_defaults": True},
        {"rename": "camel"},
        {"tag": True},
        {"kw_only": True},
    ],
    ids=str,
)
async def test_records_of_every_kind_can_be_held(options: dict[str, Any]) -> None:
    """msgspec's options for a Struct make no difference to a session."""
    kind = msgspec.defstruct("Kind", [("my_name", str, "")], **options)
    sessions = sessions_over(MemoryStore(), kind)
    session = await sessions.create(remote_address="", user_agent="")
    async with session as data:
        if not options.get("frozen"):
            data.my_name = "Anna"
    session.check_unchanged()
    with pytest.raises(AttributeError):
        session.data.my_name = "Bert"
    again = await sessions.session_for(session.id)
    assert again.data.my_name == ("" if options.get("frozen") else "Anna")
