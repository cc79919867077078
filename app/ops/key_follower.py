"""The keys of a running process, which follows changes of the file of keys."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from app.common.background import Background
from app.common.log_and_continue import logged
from app.ops.keys import accepted_keys, fingerprint, kept_keys, key_file, note_last_key
from app.settings import Settings

log = logging.getLogger("latchkey.keys")

_INTERVAL = 1.0  # seconds
_Seen = tuple[int, int, int] | None  # inode, time of change and size of a file


class KeyFollower:
    """Looks at the file of keys every second, and tells its listeners the keys when they change.

    A file that is gone or damaged changes nothing until the next start, since a change of it must
    not sign anybody out.
    """

    def __init__(self, settings: Settings, keys: Sequence[str]) -> None:
        """`keys` are those that the process began with."""
        self.keys = tuple(keys)
        #: Called with all accepted keys, of which the last one signs.
        self.on_change: list[Callable[[Sequence[str]], None]] = []
        self._settings = settings
        self._path = key_file(settings.data_dir, settings.secret_key_file)
        self._seen: _Seen = None
        self._background = Background()

    def start(self) -> None:
        """Follow from now on, on the running loop."""
        self._background.start(self._run())

    async def stop(self) -> None:
        """Look no more."""
        await self._background.stop()

    async def look(self) -> None:
        """Read the file if it has changed since the last look."""
        seen = await asyncio.to_thread(_stat, self._path)
        if seen is None or seen == self._seen:
            return
        self._seen = seen
        try:
            kept = await asyncio.to_thread(kept_keys, self._path)
        except (OSError, ValueError) as error:
            log.warning("the keys stay as they are: %s", error)
            return
        self._use(accepted_keys(kept, self._settings.secret_keys))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            with logged(log, "%s could not be read", self._path):
                await self.look()

    def _use(self, keys: tuple[str, ...]) -> None:
        if keys == self.keys:
            return
        self.keys = keys
        for listener in self.on_change:
            listener(keys)
        note_last_key(self._settings, keys)
        log.info(
            "the signing keys have changed signs=%s accepted=%s",
            fingerprint(keys[-1]),
            ",".join(map(fingerprint, keys)),
        )


def _stat(path: Path) -> _Seen:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
