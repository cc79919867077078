"""The devices on which a user is signed in: his sessions as he may see, watch and end them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Protocol

import msgspec

from app.common.background import Background, wait_until_set
from app.common.guard import logged
from app.devices.user_agents import describe
from app.sessions.manager import Sessions
from app.sessions.session import Reason, Session
from app.stores import MAX_LISTED, Record, StoreError, public_id

__all__ = ["Device", "Devices", "Presence", "Rows", "Send", "public_id", "seen_by"]

log = logging.getLogger("latchkey.devices")

_COALESCE = 0.25  # seconds in which changes gather into one list
_PAUSE = 4.0  # pause after a list, in times of what it took to make and send
_REFRESH = 5.0  # seconds after which a list is made anew though no change was heard of
_MOST_ROWS = MAX_LISTED  # devices in one list: those that were seen last


class Presence(Protocol):
    """Who knows which live connections sessions have, in every process."""

    async def transports(self, session_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return "websocket" or "polling" for each connection of those that have any."""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One row: a session as its user may see it. Times are whole seconds since 1970."""

    id: str  # the public one
    current: bool = False  # whether it is the session that asks
    browser: str  # such as "Firefox 132", or empty
    system: str  # such as "Linux", or empty
    address: str
    signed_in: int
    seen: int
    connections: list[str]  # the transport of each


class Rows(dict[str, Device]):
    """The devices of one user by session id, in the order of their sign-in, the latest first."""

    more = 0  # devices that are not in it, because there are too many


#: Sends the list of one session to one of its sockets.
Send = Callable[[str, list[Device]], Awaitable[None]]


def seen_by(rows: Rows, session_id: str) -> list[Device]:
    """Return the rows as this session sees them: itself first."""
    devices = [
        msgspec.structs.replace(device, current=id == session_id) for id, device in rows.items()
    ]
    return sorted(devices, key=lambda device: not device.current)


class _Watch:
    """The sockets that watch one user's list."""

    def __init__(self) -> None:
        self.sockets: dict[str, tuple[str, Send]] = {}  # sid -> session id and how to send
        self.sent: dict[str, Rows] = {}  # sid -> the latest list
        self.session_ids: set[str] = set()  # those of the latest list
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None]


class Devices:
    """Lists the sessions of users, ends them, and tells those who watch of every change.

    Nothing is computed for a user whom nobody watches in this process. Whatever changes a list
    goes through `changed`; a list is made at most four times a second, and sent where it differs
    from the one before.
    """

    def __init__(self, sessions: Sessions[Any], presence: Presence) -> None:
        self._sessions = sessions
        self._lifetimes = sessions.lifetimes
        self.presence = presence
        self._watches: dict[str, _Watch] = {}  # by user
        self._users: dict[str, str] = {}  # by session id, for the sessions in watched lists
        self._background = Background()

    # -- looking --

    async def rows(self, user: str, asking: Collection[str]) -> Rows:
        """Return the living sessions of a user; those in `asking` are always among them."""
        records, more = await self._latest(user, asking)
        records.sort(key=lambda record: (record.created, record.id), reverse=True)
        transports = await self.presence.transports([record.id for record in records])
        agents = await describe({record.user_agent for record in records})
        rows = Rows()
        rows.more = more
        for record in records:
            rows[record.id] = Device(
                id=public_id(record.id),
                browser=agents[record.user_agent].browser,
                system=agents[record.user_agent].system,
                address=record.remote_address,
                signed_in=int(record.created),
                seen=int(self._lifetimes.seen(record)),
                connections=sorted(transports.get(record.id, ()), reverse=True),
            )
        return rows

    async def _latest(self, user: str, asking: Collection[str]) -> tuple[list[Record], int]:
        """Return the records of one list, and how many more there are."""
        store = self._sessions.store
        records = {record.id: record for record in await store.of_user(user, _MOST_ROWS)}
        more = 0
        if len(records) >= _MOST_ROWS:
            more = await store.count(user) - _MOST_ROWS
            missing = [id for id in asking if id not in records][:_MOST_ROWS]
            found = (await store.load_many(missing)).values() if missing else ()
            asked = {record.id: record for record in found if record.user == user}
            # in place of those that were seen longest ago
            records = dict([*records.items()][: _MOST_ROWS - len(asked)]) | asked
        living = [record for record in records.values() if self._lifetimes.over(record) is None]
        return living, max(0, more)

    # -- ending --

    async def revoke(self, user: str, id: str) -> str | None:
        """End the session of this user that has this public id, and return its own id.

        None where the user has none of that name, whether somebody else has or not.
        """
        record = await self._sessions.store.find(user, id)
        if record is not None and await self._sessions.end(record.id, "revoked"):
            return record.id
        return None

    async def revoke_others(self, user: str, keep: str = "") -> int:
        """End all sessions of this user but one; return how many there were.

        It looks again until nobody else is left: also whoever signs in meanwhile is out.
        """
        ended = 0
        while True:
            records = await self._sessions.store.of_user(user)
            others = [record.id for record in records if record.id != keep]
            if not others:
                return ended
            # together, so that the store can write them in one transaction
            ended += sum(
                await asyncio.gather(*(self._sessions.end(id, "revoked") for id in others))
            )

    # -- watching --

    def watch(self, user: str, sid: str, session_id: str, send: Send) -> None:
        """Send this socket the list of its user soon and whenever it changes, until `unwatch`."""
        watch = self._watches.get(user)
        if watch is None:
            watch = self._watches[user] = _Watch()
            watch.task = self._background.start(self._follow(user, watch))
        watch.sockets[sid] = session_id, send
        watch.changed.set()

    def unwatch(self, user: str, sid: str) -> None:
        """Send this socket nothing more."""
        watch = self._watches.get(user)
        if watch is None or watch.sockets.pop(sid, None) is None:
            return
        watch.sent.pop(sid, None)
        if not watch.sockets:
            del self._watches[user]
            self._forget(watch)

    async def stop(self) -> None:
        """Send nothing more to anybody."""
        watches, self._watches = list(self._watches.values()), {}
        for watch in watches:
            watch.sockets.clear()
            self._forget(watch)
        await self._background.stop()

    def changed(self, user: str) -> None:
        """Note that the list of this user is another one by now."""
        watch = self._watches.get(user)
        if watch is not None:
            watch.changed.set()

    def connections_changed(self, session_id: str) -> None:
        """Note that a connection of this session came, went, or took another transport."""
        user = self._users.get(session_id)
        if user is not None:
            self.changed(user)

    async def signed_in(self, session: Session[Any]) -> None:
        """Note that somebody has signed in."""
        if session.user is not None:
            self.changed(session.user)

    async def session_ended(self, session_id: str, reason: Reason, record: Record | None) -> None:
        """Note that a session has ended."""
        # of an end that another process brought about only the id is known
        user = self._users.get(session_id) if record is None else record.user
        if user is not None:
            self.changed(user)

    async def _follow(self, user: str, watch: _Watch) -> None:
        """Make and send the lists of one user, one after the other, while somebody watches.

        However many sockets and sessions the user has, others have most of the loop: after a
        list that took long to send there is a longer pause.
        """
        loop, pause = asyncio.get_running_loop(), _COALESCE
        while watch.sockets:
            await wait_until_set(watch.changed, _REFRESH)
            await asyncio.sleep(pause)
            watch.changed.clear()
            began = loop.time()
            try:
                await self._send(user, watch)
            except StoreError as error:
                log.info("a list of devices has to wait: %s", error)
            except Exception:
                log.exception("a list of devices could not be sent")
            pause = max(_COALESCE, _PAUSE * (loop.time() - began))

    async def _send(self, user: str, watch: _Watch) -> None:
        asking = {session_id for session_id, _ in watch.sockets.values()}
        rows = await self.rows(user, asking)
        if not watch.sockets:  # they left meanwhile
            return
        for session_id in watch.session_ids - rows.keys():
            self._users.pop(session_id, None)
        watch.session_ids = set(rows)
        self._users.update(dict.fromkeys(rows, user))
        for sid, (session_id, send) in list(watch.sockets.items()):
            # an end that was not heard of: the list is none of that device's business any more
            if session_id not in rows or sid not in watch.sockets or watch.sent.get(sid) == rows:
                continue
            watch.sent[sid] = rows
            with logged(log, "a list of devices could not be sent to a socket"):
                await send(sid, seen_by(rows, session_id))
            # thousands of sockets of one user must not keep everybody else waiting
            await asyncio.sleep(0)

    def _forget(self, watch: _Watch) -> None:
        watch.task.cancel()
        for session_id in watch.session_ids:
            self._users.pop(session_id, None)
