"""Fields of stored session data that this release does not know survive its edits."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import pytest

from app.sessions.manager import Sessions
from app.stores.memory import MemoryStore
from tests.support.counting_store import CountingStore
from tests.support.paths import ROOT
from tests.support.process import process
from tests.support.redis_server import empty_redis
from tests.support.sessions import sessions_over
from tests.support.visitor import Visitor


class OldItem(msgspec.Struct):
    n: int = 0


class NewItem(OldItem):
    note: str = ""


class OldPoint(msgspec.Struct, array_like=True):
    x: int = 0


class NewPoint(OldPoint, array_like=True):
    y: int = 0


@dataclass
class OldPlace:
    street: str = ""


@dataclass
class NewPlace(OldPlace):
    city: str = ""


class OldHint(TypedDict, total=False):
    a: int


class NewHint(OldHint, total=False):
    b: int


class OldCat(msgspec.Struct, tag="cat"):
    name: str = ""


class NewCat(OldCat, tag="cat"):
    lives: int = 9


class Dog(msgspec.Struct, tag="dog"):
    name: str = ""


class Old(msgspec.Struct, rename="camel"):
    """The data of the older release."""

    count: int = 0
    first_item: OldItem = msgspec.field(default_factory=OldItem)
    items: list[OldItem] = msgspec.field(default_factory=list)
    by_name: dict[str, OldItem] = msgspec.field(default_factory=dict)
    point: OldPoint = msgspec.field(default_factory=OldPoint)
    place: OldPlace = msgspec.field(default_factory=OldPlace)
    hint: OldHint = msgspec.field(default_factory=lambda: OldHint())
    pet: OldCat | Dog | None = None
    tags: set[str] = msgspec.field(default_factory=set)


class New(msgspec.Struct, rename="camel"):
    """The data of the newer release: more fields on every level."""

    count: int = 0
    first_item: NewItem = msgspec.field(default_factory=NewItem)
    items: list[NewItem] = msgspec.field(default_factory=list)
    by_name: dict[str, NewItem] = msgspec.field(default_factory=dict)
    point: NewPoint = msgspec.field(default_factory=NewPoint)
    place: NewPlace = msgspec.field(default_factory=NewPlace)
    hint: NewHint = msgspec.field(default_factory=lambda: NewHint())
    pet: NewCat | Dog | None = None
    tags: set[str] = msgspec.field(default_factory=set)
    dark_mode: bool = False


def full() -> New:
    """Return data that uses every new field."""
    return New(
        count=1,
        first_item=NewItem(1, "first"),
        items=[NewItem(n, f"item {n}") for n in range(3)],
        by_name={"x": NewItem(7, "seven"), "y": NewItem(8, "eight")},
        point=NewPoint(3, 4),
        place=NewPlace("High Street", "London"),
        hint=NewHint(a=1, b=2),
        pet=NewCat("Tom", 3),
        tags={str(number) for number in range(30)},
        dark_mode=True,
    )


async def stored(store: Any, data: Any) -> str:
    """Store a session of the newer release that holds `data`; return its id."""
    records = sessions_over(store, New).records
    record = records.new(records.codec.encode(data), remote_address="", user_agent="")
    return (await records.add(record)).id


async def after(change: Callable[[Any], None], data: Any) -> New:
    """Return what the newer release reads after the older one has made this change."""
    store = MemoryStore()
    session_id = await stored(store, data)
    async with await sessions_over(store, Old).session_for(session_id) as draft:
        change(draft)
    found: New = (await sessions_over(store, New).session_for(session_id)).data
    return msgspec.convert(msgspec.to_builtins(found), New)


def count_up(data: Any) -> None:
    data.count += 1


async def test_an_edit_keeps_fields_that_it_does_not_know() -> None:
    """It keeps them on the top level, in nested structs, arrays, dataclasses, dicts and lists."""
    expected = full()
    expected.count = 2
    assert await after(count_up, full()) == expected


async def test_changes_of_known_fields_win() -> None:
    """They win beside unknown fields of the same object, at every place."""

    def change(data: Any) -> None:
        data.first_item.n = 10
        data.items[1].n = 11
        data.by_name["x"].n = 12
        data.point.x = 13
        data.place.street = "Low Street"
        data.hint["a"] = 14
        data.pet.name = "Kit"

    expected = full()
    change(expected)
    assert await after(change, full()) == expected


async def test_items_that_move_keep_their_fields() -> None:
    """An item of a list keeps its own fields; a new item gets none of another."""

    def change(data: Any) -> None:
        del data.items[0]
        data.items.reverse()
        data.items.append(OldItem(9))

    result = await after(change, full())
    assert result.items == [NewItem(2, "item 2"), NewItem(1, "item 1"), NewItem(9, "")]


async def test_a_replaced_struct_keeps_the_fields_of_its_place() -> None:
    """An older release that assigns a struct, to a field or a key, keeps its unknown fields."""

    def change(data: Any) -> None:
        data.first_item = OldItem(5)
        data.by_name["y"] = OldItem(6)

    result = await after(change, full())
    assert result.first_item == NewItem(5, "first")
    assert result.by_name["y"] == NewItem(6, "eight")


async def test_removed_objects_take_their_fields_away() -> None:
    """Objects that the older release deletes, or replaces by another type, lose their fields."""

    def change(data: Any) -> None:
        del data.by_name["x"]
        data.items.clear()
        data.pet = Dog("Rex")

    result = await after(change, full())
    assert (result.items, result.pet) == ([], Dog("Rex"))
    assert result.by_name == {"y": NewItem(8, "eight")}


async def test_a_struct_that_moved_leaves_nothing_at_its_place() -> None:
    """Its fields move along, and the struct that takes its place has none."""

    def change(data: Any) -> None:
        data.by_name["z"], data.first_item = data.first_item, OldItem(5)

    result = await after(change, full())
    assert result.by_name["z"] == NewItem(1, "first")
    assert result.first_item == NewItem(5, "")


async def test_an_unchanged_block_writes_nothing() -> None:
    """That holds for stored data with unknown fields, and with sets in any order."""
    store = CountingStore(MemoryStore())
    session_id = await stored(store, full())
    session = await sessions_over(store, Old).session_for(session_id)
    session.check_unchanged()
    store.calls.clear()
    async with session:
        pass
    session.check_unchanged()
    assert store.calls == ["lock", "release"]


async def test_data_without_unknown_fields_is_not_decoded_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only data that encodes to other bytes than the stored ones is searched."""
    store = MemoryStore()
    sessions: Sessions[Any] = sessions_over(store, Old)
    looked: list[bytes] = []
    monkeypatch.setattr(
        sessions.records.codec, "unknown", lambda data, encoded: looked.append(encoded)
    )
    session = await sessions.create(remote_address="", user_agent="")
    for _ in range(3):
        async with session as data:
            data.count += 1
            data.items.append(OldItem(data.count))
    assert looked == []


async def test_a_removed_field_is_kept() -> None:
    """A later release that removes a field, and is rolled back, has lost no data."""

    class Later(msgspec.Struct, rename="camel"):
        dark_mode: bool = False

    store = MemoryStore()
    session_id = await stored(store, full())
    async with await sessions_over(store, Later).session_for(session_id) as data:
        data.dark_mode = False
    again: New = (await sessions_over(store, New).session_for(session_id)).data
    assert (again.count, again.pet, again.dark_mode) == (1, NewCat("Tom", 3), False)


THEME = """
from tests.support.demo.session import BaseHandler

class ThemeHandler(BaseHandler):
    def get(self):
        self.write(self.session.data.theme)

    async def post(self):
        async with self.session as data:
            (data.theme,) = self.fields("theme")

routes = [(r"/theme", ThemeHandler)]
"""


def release(folder: Path, *, newer: bool) -> Path:
    """Copy the program; the newer release has one more field, and a page that sets it."""
    for part in ("app", "handlers", "static", "tests/support/demo"):
        # another process may be about to rename a `.pyc.NUMBER`
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("*.pyc.*"))
    if newer:
        demo = folder / "tests" / "support" / "demo"
        add(demo / "session.py", "count: int = 0\n", '    theme: str = ""\n')
        add(demo / "__init__.py", "MODULES = (\n", '    "tests.support.demo.theme",\n')
        (demo / "theme.py").write_text(THEME)
    return folder


def add(file: Path, line: str, more: str) -> None:
    """Insert text after a line of a file."""
    text = file.read_text()
    assert line in text
    file.write_text(text.replace(line, line + more))


async def set_theme(visitor: Visitor) -> None:
    status, _ = await visitor.post("/theme", data={"theme": "dark"})
    assert status == 200


async def test_two_releases_on_one_redis_lose_nothing(tmp_path: Path) -> None:
    """A field that the newer process wrote is kept by an edit at the older one."""
    old, new = release(tmp_path / "old", newer=False), release(tmp_path / "new", newer=True)
    flags = (f"--store={empty_redis()}", "--secret-keys=only-for-tests-0123456789")
    async with (
        process(tmp_path / "data", *flags, "--process-number=1", root=old) as one,
        process(tmp_path / "data", *flags, "--process-number=2", root=new) as two,
        Visitor(one.url) as visitor,
    ):
        assert await visitor.incr() == 1
        visitor.url = two.url
        await set_theme(visitor)
        visitor.url = one.url
        assert await visitor.incr() == 2
        socket = await visitor.socket("websocket")
        assert await socket.call("incr") == 3
        await socket.close()
        visitor.url = two.url
        assert await visitor.get("/theme") == (200, "dark")


async def test_a_rollback_on_sqlite_loses_nothing(tmp_path: Path) -> None:
    """The newer release wrote a field, the older one ran for a while, then the newer again."""
    old, new = release(tmp_path / "old", newer=False), release(tmp_path / "new", newer=True)
    async with Visitor("") as visitor:
        async with process(tmp_path / "data", root=new) as running:
            visitor.url = running.url
            assert await visitor.incr() == 1
            await set_theme(visitor)
            await running.stop()
        async with process(tmp_path / "data", root=old) as running:
            visitor.url = running.url
            assert await visitor.incr() == 2
            await running.stop()
        async with process(tmp_path / "data", root=new) as running:
            visitor.url = running.url
            assert await visitor.get("/theme") == (200, "dark")
