"""A device: one session of a user, as the user may see it."""

from __future__ import annotations

import msgspec


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the account page. Times are whole seconds since 1970."""

    id: str  # public id of the session
    current: bool = False  # whether it is the session that asks
    browser: str  # such as "Firefox 132", or empty
    system: str  # such as "Linux", or empty
    address: str
    signed_in: int
    seen: int
    connections: list[str]  # the transport of each
    #: The name of the administrator who has signed in as the user; "" for the user's own devices.
    #: Browser, system and address are empty then: they are not the user's.
    actor: str = ""


class DeviceList(dict[str, Device]):
    """The devices of one user by session id, the latest sign-in first."""

    more = 0  # number of devices that the list has no room for

    def seen_by(self, session_id: str) -> list[Device]:
        """Return the devices as this session sees them: its own one first, marked as current."""
        devices = [
            msgspec.structs.replace(device, current=id == session_id) for id, device in self.items()
        ]
        return sorted(devices, key=lambda device: not device.current)
