"""The login session as pages and sockets use it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic

from app.sessions.authentication import Actor, Authentication, actor_of, of_record
from app.sessions.codec import D
from app.sessions.edit import Edit
from app.sessions.errors import InvalidData, SessionEnded
from app.sessions.records import SessionRecords
from app.stores import Record

__all__ = ["Session", "SessionEnded", "SessionFor", "load"]


class Session(Generic[D]):
    """A session as it was when it was loaded; `async with session as data` edits it.

    `data` refuses assignment outside of the block. After a block this object has the data that
    the block stored. The session of a visitor has no record until a block changes it.
    """

    __slots__ = (
        "_address",
        "_agent",
        "_data",
        "_edit",
        "_encoded",
        "_may_create",
        "_records",
        "record",
    )

    def __init__(
        self,
        records: SessionRecords[D],
        record: Record | None,
        *,
        remote_address: str = "",
        user_agent: str = "",
        may_create: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Raises InvalidData if the record's data does not fit the type and is not upgraded.

        `may_create` is called before a visitor's session is edited, and may raise.
        """
        self._records = records
        self._address = remote_address
        self._agent = user_agent
        self._may_create = may_create
        self._edit: Edit[D] | None = None
        self.record = record
        self._encoded = records.codec.blank if record is None else record.data
        # data that a block has checked, or that was never changed, is decoded when it is read
        self._data: D | None = None
        if self._encoded != records.codec.blank:
            try:
                self._data = records.codec.snapshot(self._encoded)
            except InvalidData as misfit:
                self._encoded = records.codec.upgraded(self._encoded, misfit)

    def __bool__(self) -> bool:
        return self.record is not None

    @property
    def data(self) -> D:
        """The data of the session; it refuses assignment outside of a block."""
        if self._data is None:
            self._data = self._records.codec.snapshot(self._encoded)
        return self._data

    @property
    def id(self) -> str:
        """The session's id; an empty string for a visitor's session that is not stored."""
        return "" if self.record is None else self.record.id

    @property
    def user(self) -> str | None:
        """Name of the user who signed in, to show it; None for a visitor."""
        return None if self.record is None else self.record.user

    @property
    def user_id(self) -> str | None:
        """Id of the account that signed in, which never changes nor returns; None for a visitor."""
        return None if self.record is None else self.record.user_id

    @property
    def authentication(self) -> Authentication:
        """How and when the user has last proved who they are; its time is 0 for a visitor."""
        return Authentication() if self.record is None else of_record(self.record)

    @property
    def actor(self) -> Actor | None:
        """The administrator who has signed in as this user; None if the user did it themself."""
        return None if self.record is None else actor_of(self.record.authentication)

    @property
    def created(self) -> float:
        """Seconds since 1970 when this id was issued; 0 for a visitor's."""
        return 0.0 if self.record is None else self.record.created

    @property
    def seen(self) -> float:
        """Seconds since 1970 of the latest request or event; 0 for a visitor's."""
        return 0.0 if self.record is None else self._records.lifetimes.seen(self.record)

    @property
    def expires(self) -> float:
        """Seconds since 1970 when it ends unless a client is active; infinity: never."""
        return math.inf if self.record is None else self._records.lifetimes.deadline(self.record)

    @property
    def remote_address(self) -> str:
        """Address of the client that this session was created for."""
        return self._address if self.record is None else self.record.remote_address

    @property
    def user_agent(self) -> str:
        """User-Agent header of the client that this session was created for."""
        return self._agent if self.record is None else self.record.user_agent

    def check_unchanged(self) -> None:
        """Raise RuntimeError if nested data was changed outside of a block."""
        if self._data is None:
            return
        codec = self._records.codec
        try:
            encoded = codec.encode(self._data)
            # another release may have written the same data in another form
            changed = encoded != self._encoded and (
                encoded != codec.encode(codec.snapshot(self._encoded))
            )
        except InvalidData:
            changed = True
        if changed:
            raise RuntimeError(
                "session data was changed outside of its block, and that change is not stored; "
                "write `async with self.session as data:` around it"
            )

    async def __aenter__(self) -> D:
        self.check_unchanged()
        if self._edit is not None and self.record is None:
            raise RuntimeError("this session is already open in a block; use that block's data")
        edit = Edit(self._records, self.id)
        if self.record is None:
            self._edit = edit  # keeps a second block out
            await self._check_creation()
        data = await edit.begin()
        # from now on the lock of the session keeps a second block out
        self._edit = edit
        return data

    async def _check_creation(self) -> None:
        """Ask whether this visitor's session may be created; raises what `may_create` raises."""
        if self._may_create is None:
            return
        try:
            await self._may_create()
        except BaseException:
            self._edit = None
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        edit = self._edit
        assert edit is not None
        try:
            if kind is not None:
                await edit.abandon()
                return
            record = await edit.commit(self._address, self._agent)
            if record is not None:
                self.record = record
                self._encoded, self._data = record.data, None
        finally:
            # not earlier, or two blocks of one visitor would create two sessions
            if self._edit is edit:
                self._edit = None


class SessionFor(Edit[D]):
    """The session of a socket: `await` it to read, `async with` it to edit."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, Session[D]]:
        return self._get().__await__()

    async def _get(self) -> Session[D]:
        while (session := await load(self._records, self.session_id)) is None:
            if not await self.follow():
                raise SessionEnded(self.session_id)
        return session

    __aenter__ = Edit[D].begin  # the method itself; [D] is for type checkers

    def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Coroutine[Any, Any, object]:
        # the returned record is ignored: it is true, but no exception was raised
        return self.commit("", "") if kind is None else self.abandon()


async def load(records: SessionRecords[D], session_id: str) -> Session[D] | None:
    """Return the living session with this id, or None; end one that is unreadable."""
    record = await records.find(session_id)
    return None if record is None else await from_record(records, record)


async def from_record(records: SessionRecords[D], record: Record) -> Session[D] | None:
    """Return the session of a record; end it and return None if it is unreadable."""
    try:
        return Session(records, record)
    except InvalidData as error:
        await records.endings.end_unreadable(record.id, error)
        return None
