"""The namespace of the account page: its sockets get the list of devices."""

from typing import Any

import msgspec

from app.devices import Device
from app.sessions.session import SessionEnded
from handlers.session import BaseNamespace

_REVOKE_COST = 10  # events that a `revoke` counts as


class AccountNamespace(BaseNamespace):
    """The sockets of the page; a visitor gets the connect error `unauthorized`."""

    login_required = True

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self._users: dict[str, str] = {}  # account ids by sid
        self._seen: dict[str, dict[str, Device]] = {}  # the last list, by sid

    async def on_connect(self, sid: str) -> bool:
        try:
            session = await self.session_for(sid)
        except SessionEnded:
            return False
        assert session.user_id is not None
        self._users[sid] = session.user_id
        self.services.device_watchers.watch(
            session.user_id, sid, lambda: self.session_for(sid).session_id, self._send
        )
        return True

    def on_disconnect(self, sid: str) -> None:
        self._seen.pop(sid, None)
        user = self._users.pop(sid, None)
        if user is not None:
            self.services.device_watchers.unwatch(user, sid)

    async def on_revoke(self, sid: str, id: Any) -> bool | dict[str, str]:
        """Sign out the device with this public id and ack true."""
        user = self._users.get(sid)
        if user is None:  # the client has disconnected
            raise SessionEnded("")
        self.charge(sid, _REVOKE_COST)
        if await self.services.devices.revoke(user, str(id)):
            session = await self.session_for(sid)
            self.services.audit.add(
                "session end",
                user=session.user,
                address=session.remote_address,
                reason="one device",
                user_id=user,
                actor=session.actor,
            )
            return True
        return {"error": "unknown session"}

    async def _send(self, sid: str, devices: list[Device]) -> None:
        """Send the list, and after the first one tell of each device that is new in it."""
        now = {device.id: device for device in devices}
        before = self._seen.get(sid, now)
        if sid in self._users:
            self._seen[sid] = now
        for device in _new(before, now):
            await self.emit("signed in", msgspec.to_builtins(device), to=sid)
        await self.emit("sessions", msgspec.to_builtins(devices), to=sid)


def _new(before: dict[str, Device], now: dict[str, Device]) -> list[Device]:
    """Return the devices that have signed in; a session that got a new id is the same device."""
    renewed = {_looks(device) for id, device in before.items() if id not in now}
    return [
        device
        for id, device in now.items()
        if id not in before and not device.current and _looks(device) not in renewed
    ]


def _looks(device: Device) -> tuple[str, str, str]:
    return device.browser, device.system, device.address


namespaces = [("/account", AccountNamespace)]
