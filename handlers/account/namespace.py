"""The namespace of the account page: its sockets get the list of devices."""

from dataclasses import dataclass
from typing import Any

import msgspec

from app.devices import Device
from app.sessions.session import SessionEnded
from handlers.session import BaseNamespace

_REVOKE_COST = 10  # events that a `revoke` counts as


@dataclass
class _Page:
    """A socket of the page: whose devices it watches, and which it was sent."""

    user_id: str
    connected: int  # when it connected, in seconds since 1970
    devices: dict[str, Device] | None = None  # the last list by id; None before the first


class AccountNamespace(BaseNamespace):
    """The sockets of the page; a visitor gets the connect error `unauthorized`."""

    login_required = True

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self._pages: dict[str, _Page] = {}  # by sid

    async def on_connect(self, sid: str) -> bool:
        try:
            session = await self.session_for(sid)
        except SessionEnded:
            return False
        assert session.user_id is not None
        self._pages[sid] = _Page(session.user_id, int(self.services.sessions.clock()))
        self.services.device_watchers.watch(
            session.user_id, sid, lambda: self.session_for(sid).session_id, self._send
        )
        return True

    def on_disconnect(self, sid: str) -> None:
        page = self._pages.pop(sid, None)
        if page is not None:
            self.services.device_watchers.unwatch(page.user_id, sid)

    async def on_revoke(self, sid: str, id: Any) -> bool | dict[str, str]:
        """Sign out the device with this public id and ack true."""
        page = self._pages.get(sid)
        if page is None:  # the client has disconnected
            raise SessionEnded("")
        self.charge(sid, _REVOKE_COST)
        if await self.services.devices.revoke(page.user_id, str(id)):
            session = await self.session_for(sid)
            self.services.audit.add(
                "session end",
                user=session.user,
                address=session.remote_address,
                reason="one device",
                user_id=page.user_id,
                actor=session.actor,
            )
            return True
        return {"error": "unknown session"}

    async def _send(self, sid: str, devices: list[Device]) -> None:
        """Tell of each device that has signed in since the last list, and send the list."""
        page = self._pages.get(sid)
        if page is None:  # the client has disconnected
            return
        now, before = {device.id: device for device in devices}, page.devices
        if before is None:  # the first list, which may come after a sign-in
            before = {id: device for id, device in now.items() if device.signed_in < page.connected}
        page.devices = now
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
