"""The site of a night: two processes behind nginx, Redis with Sentinel, and PostgreSQL."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.reliability.night.programs import Programs
from tests.reliability.notes_site import NotesSite
from tests.support.nginx import Nginx
from tests.support.postgres import Postgres
from tests.support.process import run
from tests.support.sentinel import REPLICATED, ReplicatedRedis
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.waiting import until

_READY = 180.0  # seconds
_DISK = 400  # megabytes


class Site:
    """Everything that runs.

    The first machine has a small disk. On it are the first process, PostgreSQL and the Redis that
    is the primary at first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk: SmallDisk
        self.postgres: Postgres
        self.redis = ReplicatedRedis(folder, *REPLICATED, "--maxmemory-policy", "noeviction")
        self.redis.nodes[0].folder = folder / "disk" / "redis0"
        self.programs: Programs
        self.nginx: Nginx
        self.environ: dict[str, str] = {}  # settings of the processes
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Site:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        self.disk = self._stack.enter_context(small_disk(self.folder / "disk", _DISK))
        self.postgres = Postgres(self.disk.folder)
        self._stack.callback(self.postgres.remove)
        self._stack.callback(self.redis.stop)
        await self.redis.start()
        self.environ = {
            "LATCHKEY_STORE": self.redis.url,
            "LATCHKEY_DATABASE": self.postgres.url(self.postgres.database()),
            "LATCHKEY_TRUSTED_PROXIES": "127.0.0.1",
            "LATCHKEY_HANDSHAKES_PER_MINUTE": "0",  # all clients have one address
        }
        self.programs = Programs(self._releases())
        self._stack.push_async_callback(self.programs.stop)
        await self.programs.start()
        self.nginx = Nginx(self.programs.ports)
        self._stack.callback(self.nginx.stop)
        self.nginx.start()

    def _releases(self) -> NotesSite:
        """Return a site of releases, with the data of the first process on the small disk."""
        releases = NotesSite(self.folder, **self.environ)
        self.environ["LATCHKEY_SECRET_KEY_FILE"] = str(releases.root / "keys")
        data = self.disk.folder / "process0"
        data.mkdir(mode=0o700)
        (releases.root / "data" / "0").symlink_to(data)
        return releases

    async def ready(self) -> None:
        """Wait until all processes can serve."""
        await until(self.programs.are_ready, _READY)

    async def command(self, *arguments: str) -> str:
        """Run a command of the program with the settings of the site; return what it prints."""
        code, out, error = await run(*arguments, **self.environ)
        assert code == 0, out + error
        return out
