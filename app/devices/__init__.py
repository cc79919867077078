"""Where a user is signed in: their sessions as devices, listed, watched and signed out.

Imports sessions, stores and common.
"""

from app.devices.device import Device, DeviceList
from app.devices.devices import Devices, Presence
from app.devices.watchers import Watchers

__all__ = ["Device", "DeviceList", "Devices", "Presence", "Watchers"]
