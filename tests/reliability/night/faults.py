"""What happens in a night, and which pages may fail meanwhile."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.reliability.night.clients import Tally
from tests.reliability.night.programs import NUMBERS
from tests.reliability.night.site import Site

REASON = "not today"  # why the bad release does not start


@dataclass(frozen=True)
class Fault:
    """Something that happens to a site while clients work."""

    name: str
    happen: Callable[[Site], Awaitable[None]]
    may_fail: tuple[str, ...]  # answers to pages, such as "POST 503"
    because: str  # says which pages these are

    def failed_otherwise(self, tally: Tally) -> dict[str, int]:
        """Return which pages failed though none of their kind may, and how many."""
        pages = {what: n for what, n in tally.failed.items() if what.startswith(("GET", "POST"))}
        return {what: n for what, n in pages.items() if what not in self.may_fail}


async def nothing(site: Site) -> None:
    await asyncio.sleep(5)


async def kill(site: Site) -> None:
    """Kill one process, and the other one when the first one is back."""
    for number in NUMBERS:
        site.programs.send(number, signal.SIGKILL)
        await asyncio.sleep(5)  # longer than systemd's pause: it is starting again
        await site.ready()


async def freeze(site: Site) -> None:
    """No watchdog of systemd ends the process, so that it wakes up among its clients again."""
    site.programs.send(0, signal.SIGSTOP)  # the one that was killed last has few clients
    await asyncio.sleep(60)
    site.programs.send(0, signal.SIGCONT)


async def upgrade_badly(site: Site) -> None:
    """The release does not start; the command takes back what it did."""
    broken = f"async def on_start(services):\n    raise RuntimeError('{REASON}')\n"
    site.programs.releases.commit_notes("bad", more=broken)
    await site.programs.change("upgrade", "bad", "--ready-timeout=5", code=1)


async def upgrade(site: Site) -> None:
    """A release with a migration."""
    site.programs.releases.commit_migration("v2")
    await site.programs.change("upgrade", "v2")


async def roll_back(site: Site) -> None:
    """Back to the release before, and its tables."""
    await site.programs.change("rollback", "--downgrade")


async def back_up(site: Site) -> None:
    folder = str(site.folder / "backup")
    data = site.programs.releases.root / "data" / "0"
    await site.command("backup", folder, f"--data-dir={data}")
    await site.command("verify", folder)


async def restart_postgres(site: Site) -> None:
    site.postgres.stop()
    await asyncio.sleep(5)
    site.postgres.start()


async def fail_over(site: Site) -> None:
    """Kill the primary; once another one is named, it comes back as a replica."""
    primary = site.redis.primary()
    assert primary is not None
    primary.kill()
    await site.redis.failed_over(primary)
    site.redis.restart(primary)


async def fill_disk(site: Site) -> None:
    """Fill the disk of the first machine for a while; what ended on it is started again."""
    site.disk.fill()
    await asyncio.sleep(20)
    site.disk.free()
    for node in site.redis.nodes:
        if not node.is_running():
            site.redis.restart(node)
    if not site.postgres.is_running():
        site.postgres.start()


async def rotate_key(site: Site) -> None:
    await site.command("keys", "rotate")


_RESTARTED = "changes that a process had begun when it was killed: 503"
_FAILOVER = "all until the Sentinels have named another primary: 503"

FAULTS = (
    Fault("nothing", nothing, (), "none"),
    Fault("a bad upgrade, taken back", upgrade_badly, (), "none"),
    Fault("an upgrade with a migration", upgrade, (), "none"),
    Fault("a rollback", roll_back, (), "none"),
    Fault("the signing key rotated", rotate_key, (), "none"),
    Fault("a backup", back_up, (), "none"),
    Fault("`kill -9` of one process after the other", kill, ("POST 503",), _RESTARTED),
    Fault(
        "a process frozen for 60 s",
        freeze,
        ("POST 503",),
        "changes that were sent to the frozen process: 503",
    ),
    Fault("PostgreSQL restarted", restart_postgres, (), "none: these pages read no accounts"),
    Fault(
        "the disk of the first machine full for 20 s",
        fill_disk,
        ("POST 503", "GET 503"),
        _FAILOVER,
    ),
    Fault("Redis failover", fail_over, ("POST 503", "GET 503"), _FAILOVER),
)
