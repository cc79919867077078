"""The words for a device in its row; `static/account.js` has the same."""

from collections import Counter

from app.devices import Device
from app.devices.user_agents import device_name

BLANK = Device(id="", browser="", system="", address="", signed_in=0, seen=0, connections=[])
#: What the row of an administrator says.
ACTING = "An administrator of this site signed in as you. You may sign them out."


def name(device: Device) -> str:
    """Return the browser and the system: "Firefox 132 on Linux"."""
    if device.actor:
        return f"Administrator {device.actor}"
    return device_name(device.browser, device.system)


def connection_status(device: Device) -> str:
    """Return how the device is connected."""
    counts = Counter(device.connections)
    words = [f"{name} ({count})" if count > 1 else name for name, count in counts.items()]
    return f"Connected by {' and '.join(words)}" if words else "Not connected"
