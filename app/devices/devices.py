"""The devices of a user: list them and sign them out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from app.devices.device import Device, DeviceList
from app.devices.user_agents import UserAgent, describe
from app.sessions.authentication import actor_of
from app.sessions.manager import Sessions
from app.stores import MAX_LISTED, Record, public_id

_MAX_DEVICES = MAX_LISTED  # devices in one list


class Presence(Protocol):
    """The live connections of sessions, in every process."""

    async def transports(self, session_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return "websocket" or "polling" for each connection of those that have any."""
        ...

    async def processes(self) -> Sequence[tuple[str, int]]:
        """Return the number of each process, and how many connections it has."""
        ...


class Devices:
    """The sessions of users, as the account page lists and ends them.

    Users are named by the ids of their accounts.
    """

    def __init__(self, sessions: Sessions[Any], presence: Presence) -> None:
        self.presence = presence
        self._sessions = sessions
        self._lifetimes = sessions.lifetimes

    async def rows(self, user_id: str, asking: Collection[str]) -> DeviceList:
        """Return the devices of a user, including those of the session ids in `asking`.

        If there are too many, the least recently seen are left out.
        """
        records, more = await self.latest(user_id, asking)
        devices = await self.of_records(records)
        devices.more = more
        return devices

    async def latest(self, user_id: str, asking: Collection[str]) -> tuple[list[Record], int]:
        """Return the records of one list, the latest sign-in first, and how many are left out."""
        store = self._sessions.store
        records = {record.id: record for record in await store.of_user(user_id, _MAX_DEVICES)}
        more = 0
        if len(records) >= _MAX_DEVICES:
            more = await store.count(user_id) - _MAX_DEVICES
            missing = [id for id in asking if id not in records][:_MAX_DEVICES]
            found = (await store.load_many(missing)).values() if missing else ()
            asked = {record.id: record for record in found if record.user_id == user_id}
            # these take the places of the least recently seen
            records = dict([*records.items()][: _MAX_DEVICES - len(asked)]) | asked
        living = self._lifetimes.living(records.values())
        living.sort(key=lambda record: (record.created, record.id), reverse=True)
        return living, max(0, more)

    async def of_records(self, records: Sequence[Record]) -> DeviceList:
        """Return these sessions as devices, in this order; they may be of several users."""
        transports = await self.presence.transports([record.id for record in records])
        agents = await describe({record.user_agent for record in records})
        devices = DeviceList()
        for record in records:
            connections = sorted(transports.get(record.id, ()), reverse=True)
            devices[record.id] = self._device(record, agents[record.user_agent], connections)
        return devices

    def _device(self, record: Record, agent: UserAgent, connections: list[str]) -> Device:
        actor = actor_of(record.authentication)
        return Device(
            id=public_id(record.id),
            # those of an administrator do not concern the user
            browser="" if actor else agent.browser,
            system="" if actor else agent.system,
            address="" if actor else record.remote_address,
            signed_in=int(record.created),
            seen=int(self._lifetimes.seen(record)),
            connections=connections,
            actor=actor.name if actor else "",
        )

    async def revoke(self, user_id: str, id: str) -> str | None:
        """End the session of this user with this public id, and return its session id.

        Returns None if this user has no such session, even if another user has.
        """
        record = await self._sessions.store.find(user_id, id)
        if record is not None and await self._sessions.end(record.id, "revoked"):
            return record.id
        return None

    async def revoke_others(self, user_id: str, keep: str = "") -> int:
        """End all sessions of this user but `keep`; return how many were ended.

        Repeats until no other session is left, so that a sign-in meanwhile is ended too.
        """
        return await self._sessions.end_user(user_id, keep=keep)
