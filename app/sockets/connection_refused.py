"""The refusal of a client by `on_connect`."""

from __future__ import annotations

from typing import Any

from socketio.exceptions import ConnectionRefusedError as LibraryConnectionRefused


class ConnectionRefused(LibraryConnectionRefused):
    """Refuses a client in `on_connect`; it is python-socketio's ConnectionRefusedError, typed.

    The client's `connect_error` has an error with this `message` and `data`.
    """

    def __init__(self, message: str, data: Any = None) -> None:
        """`data` is what JSON can hold; None: the error has none."""
        super().__init__(*((message,) if data is None else (message, data)))
