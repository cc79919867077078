"""The keys of a site: their file, their times, and the processes that accept them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from app.console.errors import Failed
from app.console.site import Site
from app.ops.key_file import write_keys
from app.ops.key_times import KeyTimes
from app.ops.keys import fingerprint, kept_keys, key_file
from app.settings import is_shared

_LOOK_INTERVAL = 0.25  # seconds
_SETTLE_TIME = 1.5  # seconds in which a process that starts has told of its keys


class Running(NamedTuple):
    """A running process, and the fingerprints of the keys that it accepts; the last one signs."""

    number: str
    keys: tuple[str, ...]


class SiteKeys:
    """Reads and changes the file of keys, and asks the running processes what they accept."""

    def __init__(self, site: Site) -> None:
        """Raises Failed if the file cannot be read, and WrongCall for wrong settings."""
        read = site.settings(
            "data_dir", "secret_key_file", "secret_keys", "session_max_age", "store"
        )
        self._site = site
        self._shared = is_shared(read["store"])
        self.path = key_file(read["data_dir"], read["secret_key_file"])
        self.given: tuple[str, ...] = read["secret_keys"]  # these are in settings, not in the file
        self.max_age: float = read["session_max_age"] or math.inf
        try:
            self.kept = kept_keys(self.path)
            self.times = KeyTimes(self.path)
        except (OSError, ValueError) as error:
            raise Failed(str(error)) from None

    def require_file(self) -> None:
        """Raise Failed if the keys cannot be changed by a command."""
        if self.given:
            raise Failed(
                "the keys are in --secret-keys, which a command cannot change; write them into a "
                "file, one a line, name it by --secret-key-file in place of --secret-keys, and "
                "restart the processes one by one"
            )
        if not self.kept:
            raise Failed(f"there are no keys in {self.path} yet; the first start makes one")

    def write(self, keys: tuple[str, ...]) -> None:
        """Replace the keys, and store the times; raises Failed."""
        try:
            self.times.save(keys)
            write_keys(self.path, keys)
        except OSError as error:
            raise Failed(
                f"{self.path} could not be written ({error.strerror or error}); run the command "
                "as root or as the program's user"
            ) from None
        self.kept = keys

    def needed_until(self, key: str) -> float:
        """Return until when cookies may need a key that does not sign, infinity for ever."""
        times = self.times.of(key)
        if times.made is not None and times.signed_from is None:
            return 0.0
        return (times.signed_until or time.time()) + self.max_age

    def running(self) -> list[Running]:
        """Return the running processes of the site; raises Failed."""
        found = self._site.call("keys") if self._shared else self._site.call_running("keys")
        processes = found["processes"] if found is not None else []
        return [Running(each["number"], tuple(each["keys"])) for each in processes]

    def wait(self, seconds: float, fits: Callable[[Running], bool]) -> list[Running]:
        """Wait until all running processes fit; return those that do not in time.

        A process that starts meanwhile is asked too.
        """
        deadline = time.monotonic() + seconds
        settled = math.inf
        while True:
            others = [each for each in self.running() if not fits(each)]
            now = time.monotonic()
            settled = math.inf if others else min(settled, now + _SETTLE_TIME)
            if now >= settled or (others and now >= deadline):
                return others
            time.sleep(_LOOK_INTERVAL)

    def check_running(self) -> None:
        """Raise Failed if a running process does not sign with the key that signs in the file."""
        signs = fingerprint(self.kept[-1])
        others = [each for each in self.running() if each.keys[-1] != signs]
        if others:
            raise Failed(
                f"another key than the last one in {self.path} signs in {numbers(others)}. If they "
                "read a copy of this file, copy it to them; else name the file that they read by "
                "--secret-key-file or --data-dir"
            )


def numbers(processes: Collection[Running]) -> str:
    """Return words for some processes, such as: processes 0, 2."""
    shown = ", ".join(each.number or "?" for each in processes)
    return f"process {shown}" if len(processes) == 1 else f"processes {shown}"
