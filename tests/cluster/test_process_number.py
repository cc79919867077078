"""Of the processes on one Redis each has a number of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.cluster.process_number import NumberTaken, ProcessNumber
from app.stores.redis import RedisClient
from tests.support.paths import ROOT
from tests.support.process import process, run
from tests.support.redis_server import RedisServer, empty_redis, shared_server
from tests.support.sites import KEYS
from tests.support.visitor import Visitor
from tests.support.waiting import until

KEY = "latchkey:number:3"


def flags(url: str, number: int = 3) -> tuple[str, ...]:
    return (f"--store={url}", f"--secret-keys={KEYS[0]}", f"--process-number={number}")


@contextlib.asynccontextmanager
async def number(url: str, *, lease: float = 0.4) -> AsyncIterator[ProcessNumber]:
    """Be a process with number 3, that has not claimed it yet."""
    link = RedisClient(url)
    await link.open()
    claimed = ProcessNumber(link, 3, lease=lease)
    try:
        yield claimed
    finally:
        await claimed.release()
        await link.close()


@pytest.mark.limit(40)
async def test_a_second_process_with_the_number_does_not_start(tmp_path: Path) -> None:
    """It logs that it waits for the lease, and ends with 1 and a message; the first one goes on."""
    url = empty_redis()
    async with process(tmp_path / "a", *flags(url)) as one, Visitor(one.url) as visitor:
        code, out, err = await run("--port=0", f"--data-dir={tmp_path / 'b'}", *flags(url))
        assert code == 1
        assert not out
        assert "process number 3 is in use by" in err
        assert "waiting up to 10 s" in err
        last = err.splitlines()[-1]
        assert last.startswith("latchkey: process number 3 is in use by ")
        assert f"pid {one.process.pid}; start each process on one Redis with a" in last
        assert await visitor.incr() == 1
        assert await one.stop() == 0


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_wait_for_a_number(tmp_path: Path, sent: signal.Signals) -> None:
    """The process ends with 0, and does not wait for the lease first."""
    url, log = empty_redis(), tmp_path / "log"
    shared_server().client().set(KEY, "0123456789abcdef elsewhere pid 7")  # without an expiry
    with log.open("wb") as output:
        starting = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app", "--port=0", f"--data-dir={tmp_path / 'a'}", *flags(url),
            stdout=output, stderr=output, cwd=ROOT,
        )  # fmt: skip
        try:
            await until(lambda: "waiting up to 10 s" in log.read_text(), 15)
            starting.send_signal(sent)
            assert await starting.wait() == 0
        finally:
            if starting.returncode is None:
                starting.kill()
    assert "Traceback" not in log.read_text()


async def test_other_numbers_and_other_databases_are_free(tmp_path: Path) -> None:
    url = empty_redis()
    async with (
        process(tmp_path / "a", *flags(url)) as one,
        process(tmp_path / "b", *flags(url, 4)) as two,
        process(tmp_path / "c", *flags(url.replace("/0", "/1"))) as three,
    ):
        assert len({one.url, two.url, three.url}) == 3


async def test_a_clean_stop_frees_the_number_at_once(tmp_path: Path) -> None:
    """So that a restart waits for nothing."""
    url = empty_redis()
    for _ in range(2):
        async with process(tmp_path, *flags(url), log=tmp_path / "log") as one:
            assert shared_server().client().pttl(KEY) > 0
            assert await one.stop() == 0
            assert shared_server().client().get(KEY) is None
    assert "waiting" not in (tmp_path / "log").read_text()


async def test_the_number_of_a_killed_process_is_free_after_its_lease(tmp_path: Path) -> None:
    """A restart after `kill -9` waits and then serves."""
    url = empty_redis()
    async with process(tmp_path / "a", *flags(url)) as one:
        await one.stop(signal.SIGKILL)
        client, log = shared_server().client(), tmp_path / "log"
        assert 0 < client.pttl(KEY) <= 10_000

        async def end_lease() -> None:
            """Do what time does, once the process says that it waits."""
            await until(lambda: log.exists() and "waiting up to 10 s" in log.read_text(), 15)
            client.delete(KEY)

        ending = asyncio.ensure_future(end_lease())
        async with process(tmp_path / "a", *flags(url), log=log) as two, Visitor(two.url) as who:
            assert await who.incr() == 1
        await ending


async def test_the_lease_is_renewed_while_the_process_lives() -> None:
    """No other process gets the number, however long it tries."""
    url = empty_redis()
    async with number(url) as one, number(url) as two:
        await one.claim()
        with pytest.raises(NumberTaken, match="process number 3 is in use by"):
            await two.claim()
        await one.release()
        await two.claim()


async def test_a_forgotten_number_is_taken_again(tmp_path: Path) -> None:
    """After an outage longer than the lease, and after a FLUSHALL."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    try:
        async with number(server.url) as one:
            await one.claim()
            server.kill()
            server.start()
            await until(lambda: server.client().get(KEY) is not None)
            server.client().flushall()
            await until(lambda: server.client().get(KEY) is not None)
    finally:
        server.kill()


async def test_a_number_taken_by_another_process_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Both go on, since no stored data depends on it. A stop frees only the own lease."""
    url = empty_redis()
    client = shared_server().client()
    async with number(url, lease=0.1) as one:
        await one.claim()
        client.set(KEY, "0123456789abcdef elsewhere pid 7")

        def told() -> list[str]:
            return [
                record.getMessage()
                for record in caplog.records
                if record.levelno == logging.ERROR and record.name == "latchkey.processes"
            ]

        await until(told)
        await asyncio.sleep(0.2)
        assert len(told()) == 1
        assert told()[0].startswith("process number 3 was taken by elsewhere pid 7 while the Redis")
        await one.release()
        await one._client.close()
        assert client.get(KEY) == b"0123456789abcdef elsewhere pid 7"
