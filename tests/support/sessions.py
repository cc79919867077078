"""Sessions that tests make: their data, their clock, and access to the store."""

from __future__ import annotations

from typing import Any

import msgspec

from app.sessions.manager import Sessions
from app.sessions.session import Session
from tests.support.clock import Clock


class Profile(msgspec.Struct):
    """Nested data of a session."""

    name: str = ""


class Data(msgspec.Struct):
    """The data of these tests' sessions."""

    count: int = 0
    tags: set[str] = msgspec.field(default_factory=set)
    items: list[Any] = msgspec.field(default_factory=list)
    profile: Profile = msgspec.field(default_factory=Profile)


def sessions_over(store: Any, data_type: type[Any] = Data, **limits: float) -> Sessions[Any]:
    """Return the sessions over this store."""
    times: dict[str, Any] = {"idle_timeout": 0, "max_age": 0, **limits}
    return Sessions(store, data_type, clock=Clock(), **times)


async def made(store: Any) -> tuple[Sessions[Data], Session[Data]]:
    """Return sessions and a stored one."""
    sessions = sessions_over(store)
    return sessions, await sessions.create(remote_address="::1", user_agent="test")


async def stored(sessions: Sessions[Data], session_id: str) -> Data:
    """Return the stored data of this session."""
    record = await sessions.store.load(session_id)
    assert record is not None
    return sessions.records.codec.draft(record.data)
