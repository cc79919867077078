"""When keys were made and signed, kept beside the file of keys under their fingerprints."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from app.ops.key_file import replace_file
from app.ops.keys import fingerprint


class KeyTime(msgspec.Struct, omit_defaults=True):
    """Times of one key, in seconds since 1970; None if they are unknown, or are to come."""

    made: float | None = None
    signed_from: float | None = None
    signed_until: float | None = None


class KeyTimes:
    """The times of the keys in one file; a key that is not known has none.

    The file of keys itself has only keys, since releases before this one read each of its lines as
    a key.
    """

    def __init__(self, keys: Path) -> None:
        """`keys` is the file of keys."""
        self._keys = keys
        self._path = keys.with_name(keys.name + ".times")
        try:
            self._times = msgspec.json.decode(self._path.read_bytes(), type=dict[str, KeyTime])
        except (FileNotFoundError, msgspec.MsgspecError):
            self._times = {}

    def of(self, key: str) -> KeyTime:
        """Return the times of a key; changes of them are stored by `save`."""
        return self._times.setdefault(fingerprint(key), KeyTime())

    def note_only_key(self, key: str) -> None:
        """Take the time of the file as that of its only key, which a process has made."""
        times = self.of(key)
        if times.made is None:
            times.made = times.signed_from = self._keys.stat().st_mtime

    def note_unknown_end(self, key: str) -> None:
        """Count from now for a key that signs no more, if the time of its end is unknown."""
        times = self.of(key)
        if times.signed_until is None:
            times.signed_until = time.time()

    def save(self, keys: tuple[str, ...]) -> None:
        """Store the times of these keys, and forget all others."""
        wanted = {fingerprint(key) for key in keys}
        kept = {name: times for name, times in self._times.items() if name in wanted}
        replace_file(self._path, msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
