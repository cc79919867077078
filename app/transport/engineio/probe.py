"""The upgrade of a connection from polling to a WebSocket."""

from __future__ import annotations

from typing import Protocol

from app.transport.timers import Timer, Wheel

#: Seconds for an upgrade to finish, as in Node's server.
UPGRADE_TIMEOUT = 10.0
#: Frames of an upgrade. An honest one has two.
MAX_PROBE_FRAMES = 16


class Socket(Protocol):
    """The WebSocket that the client probes."""

    def send(self, packet: bytes) -> None:
        """Send one Engine.IO packet."""

    def upgrade(self) -> None:
        """Take the place of polling."""

    def fail_probe(self) -> None:
        """Close the WebSocket and leave the connection on polling."""


class Polling(Protocol):
    """The transport that the client upgrades from."""

    def nudge(self) -> None:
        """Let the open poll return."""


class Probe(Timer):
    """Answers the client's probe, then lets it upgrade; every other packet fails the probe."""

    __slots__ = ("_frames", "_polling", "_socket", "_wheel", "answered")

    def __init__(self, wheel: Wheel, socket: Socket, polling: Polling) -> None:
        super().__init__()
        self._wheel = wheel
        self._socket = socket
        self._polling = polling
        self.answered = False  #: whether the client may upgrade, and polls no more before it does
        self._frames = 0
        wheel.start(self, UPGRADE_TIMEOUT)

    def run(self) -> None:
        self._socket.fail_probe()

    def receive(self, packet: str | bytes) -> None:
        """Act on a packet of the client."""
        if self.is_flood():
            self._socket.fail_probe()
        elif packet == "2probe":
            self.answered = True
            self._socket.send(b"3probe")
            self._polling.nudge()  # the client upgrades once no poll is open
        elif packet[:1] == "5" and self.answered:
            self._socket.upgrade()
        else:
            self._socket.fail_probe()

    def is_flood(self) -> bool:
        """Count a frame; return whether there are too many.

        A probe reads on when the bucket of tokens is empty, so its frames are counted.
        """
        self._frames += 1
        return self._frames > MAX_PROBE_FRAMES

    def stop(self) -> None:
        """Stop the timer: the upgrade is done, or the WebSocket closes."""
        self._wheel.stop(self)
