"""The command `python -m bench.stored`: a million stored sessions, in SQLite and in Redis.

It fills each store as the server does, with sessions of users and of visitors, of which a part has
expired, and starts a server on it. It prints what a session takes, how long the start takes, and
what the server does until the expired ones are removed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import signal
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from app.stores import Record
from app.stores.redis import open_store
from app.stores.sqlite import rows
from app.stores.sqlite.database_file import connect
from bench.contestants import LINEUP
from bench.process import Server, free_port

_BATCH = 100
_DATA = msgspec.msgpack.encode({"count": 1})
_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


def records(how_many: int, expired: int, now: float) -> Iterator[Record]:
    """Make sessions, every second one of a user; the first `expired` have expired."""
    for number in range(how_many):
        user = f"u:{secrets.token_hex(16)}" if number % 2 else None
        expires = now - 60 if number < expired else now + 1_000_000
        yield Record(
            id=secrets.token_urlsafe(32),
            data=_DATA,
            created=now - 3600,
            seen=now - 3600,
            expires=expires,
            user_id=user,
            user_name=None if user is None else f"user {number}",
            authentication=None if user is None else '{"time":1790000000.0,"method":"password"}',
            remote_address="192.0.2.1",
            user_agent=_AGENT,
        )


def in_sqlite(folder: Path, how_many: int, expired: int) -> list[str]:
    """Measure the default store."""
    data = folder / "data"
    data.mkdir()
    path = data / "sessions.sqlite3"
    with contextlib.closing(connect(path)) as file:
        file.execute("BEGIN")
        made = records(how_many, expired, time.time())
        while batch := [rows.to_insert(record) for record in islice(made, _BATCH)]:
            file.executemany(rows.INSERT, batch)
        file.execute("COMMIT")
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size

    def left() -> int:
        with contextlib.closing(sqlite3.connect(path)) as file:
            query = "SELECT count(*) FROM sessions WHERE expires < ?"
            return int(file.execute(query, (time.time(),)).fetchone()[0])

    return [
        "SQLite",
        f"{size / how_many:.0f}",
        *_served("latchkey-sqlite", data, "", expired, left),
    ]


def in_redis(folder: Path, how_many: int, expired: int) -> list[str]:
    """Measure a Redis, without a file of its own."""
    words = ("redis-server", "--save", "", "--bind", "127.0.0.1", "--dir", str(folder), "--port")
    redis = Server.start(lambda port: [*words, str(port)], folder / "redis.log")
    try:
        empty = _ask(redis.port, "INFO memory")
        url = f"redis://127.0.0.1:{redis.port}/0"
        asyncio.run(_fill(url, how_many, expired))
        size = _used(_ask(redis.port, "INFO memory")) - _used(empty)

        def left() -> int:
            return int(_ask(redis.port, f"ZCOUNT latchkey:expiry -inf {time.time()}"))

        served = _served("latchkey-redis", folder / "none", url, expired, left)
        return ["Redis", f"{size / how_many:.0f}", *served]
    finally:
        redis.stop()


async def _fill(url: str, how_many: int, expired: int) -> None:
    store = open_store(url)
    made = records(how_many, expired, time.time())
    while batch := list(islice(made, _BATCH)):
        await asyncio.gather(*(store.save(record) for record in batch))
    await store.close()


def _served(name: str, data: Path, redis: str, expired: int, left: Callable[[], int]) -> list[str]:
    """Start a server; return seconds until it listens, its memory, and the cost of the sweep."""
    given = {"data": data, "redis": redis, "number": 0, "bun": ""}
    argv = [word.format(**given) for word in LINEUP[name].argv]
    log = data.with_suffix(".log")
    began = time.monotonic()
    port = free_port()
    server = Server([*argv, f"--port={port}"], port, log)
    try:
        while not _listens(port):
            time.sleep(0.01)
        start, cpu = time.monotonic() - began, server.cpu()
        while left():
            time.sleep(0.5)
        sweep, cost = time.monotonic() - began - start, server.cpu() - cpu
        memory = server.resident() / 1e6
    finally:
        server.stop()
    removed = f"{cost / expired * 1e6:.0f}" if expired else "-"
    return [f"{start:.1f}", f"{memory:.0f}", f"{sweep:.0f}", removed]


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _ask(port: int, command: str) -> str:
    """Return the reply of a Redis to a command: a text or a number."""
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(command.encode() + b"\r\n")
        reader = connection.makefile("rb")
        head = reader.readline().decode().strip()
        return reader.read(int(head[1:])).decode() if head[0] == "$" else head[1:]


def _used(info: str) -> int:
    (line,) = (line for line in info.splitlines() if line.startswith("used_memory:"))
    return int(line.partition(":")[2])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.stored", description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--expired", type=int, default=100_000, help="of the sessions")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped
    print(
        f"{options.sessions:,} sessions, {options.expired:,} of them expired\n\n"
        "| | bytes per session | s to start | MB of process | s of sweep | µs per expired |\n"
        "|---|--:|--:|--:|--:|--:|"
    )
    for measure in (in_sqlite, in_redis):
        with tempfile.TemporaryDirectory() as folder:
            cells = measure(Path(folder), options.sessions, options.expired)
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
