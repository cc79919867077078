"""What only the Redis store promises: leases, what Redis forgets by itself, what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import math
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextvars import Context
from pathlib import Path
from typing import Any

import pytest

from app.sessions.clock import SteadyClock
from app.sessions.manager import Sessions
from app.stores import LeaseLost, Record, StoreBusy, StoreUnavailable, public_id
from app.stores.redis import locks as redis_locks
from app.stores.redis import store_scripts as redis_scripts
from app.stores.redis.address import Address, InvalidRedisUrl
from app.stores.redis.connection import Connection, ReplyError, Word
from app.stores.redis.script import Script
from app.stores.redis.store import RedisStore
from app.transport.tasks import Tasks
from tests.support.demo.session import SessionData
from tests.support.ports import free_port
from tests.support.process import run
from tests.support.redis_server import RedisServer, empty_redis, shared_server
from tests.support.sites import processes, waits_for_lock
from tests.support.stores import record
from tests.support.waiting import until

SECRET = "--secret-keys=0123456789abcdef"


def is_locked(session_id: str) -> bool:
    with shared_server().client() as redis:
        return bool(redis.exists(f"latchkey:{{{session_id}}}:lock"))


async def increment(store: RedisStore, times: int) -> None:
    for _ in range(times):
        lease = await store.lock("a")
        assert lease.record is not None
        await lease.save(b"%d" % (int(lease.record.data) + 1))


async def test_edits_of_several_processes_are_all_kept() -> None:
    """Four processes with ten editors each raise one number, and none is lost."""
    async with processes(4) as stores:
        await stores[0].save(record(data=b"0"))
        await asyncio.gather(*(increment(store, 5) for store in stores for _ in range(10)))
        loaded = await stores[0].load("a")
        assert loaded is not None
        assert (loaded.data, loaded.version) == (b"200", 201)


async def test_a_busy_process_lets_others_lock() -> None:
    """A process with endless queued edits does not keep another process from its one edit."""
    async with processes() as (busy, other):
        await busy.save(record(data=b"0"))
        rest = [asyncio.ensure_future(increment(busy, 1000)) for _ in range(5)]

        async def begun() -> bool:
            found = await other.load("a")
            return found is not None and found.version > 10

        await until(begun)
        await asyncio.wait_for(increment(other, 20), 5)
        assert not any(editing.done() for editing in rest)
        for editing in rest:
            editing.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


async def test_a_waiting_process_is_notified(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message passes the lock on, before the waiting process asks again."""
    monkeypatch.setattr(redis_locks, "_RETRY_INTERVAL", 1000.0)
    async with processes() as (one, two):
        lease = await one.lock("a")
        waiting = asyncio.ensure_future(two.lock("a"))
        await waits_for_lock(two)
        assert not waiting.done()
        await lease.release()
        await (await asyncio.wait_for(waiting, 5)).release()


async def test_a_lease_that_ran_out_overwrites_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A late save raises LeaseLost, whether the other edit has been saved by then or not."""
    monkeypatch.setattr(redis_locks, "_LEASE_TIMEOUT", 50)
    async with processes() as (one, two):
        await one.save(record())
        late = await one.lock("a")
        lease = await two.lock("a")
        with pytest.raises(LeaseLost):
            await late.save(b"late")
        await lease.save(b"in time")
        late = await one.lock("a")
        lease = await two.lock("a")
        await lease.save(b"again")
        with pytest.raises(LeaseLost):
            await late.save(b"late")
        loaded = await one.load("a")
        assert loaded is not None
        assert (loaded.data, loaded.version) == (b"again", 3)


async def test_a_sign_in_keeps_an_edit_of_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the lease runs out during a sign-in, the other process's edit moves to the new id."""
    monkeypatch.setattr(redis_locks, "_LEASE_TIMEOUT", 50)
    async with processes() as (one, two):
        slow, other = (
            Sessions(store, SessionData, idle_timeout=100, max_age=1000, clock=SteadyClock())
            for store in (one, two)
        )
        session = await slow.create(remote_address="", user_agent="")
        save = one.save

        async def edit() -> None:
            async with await other.session_for(session.id) as data:
                data.count += 1

        async def stalled(record: Record) -> None:
            await save(record)
            await until(lambda: not is_locked(session.id))
            # as another process, which knows of no block around this
            await asyncio.create_task(edit(), context=Context())

        monkeypatch.setattr(one, "save", stalled)
        signed_in = await slow.sign_in(session, "ann", remote_address="", user_agent="")
        assert (await other.session_for(signed_in.id)).data.count == 1
        assert await other.load(session.id) is None


async def test_a_slow_edit_without_competition_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that ran out while no other edit wanted the lock is no reason to refuse."""
    monkeypatch.setattr(redis_locks, "_LEASE_TIMEOUT", 50)
    async with processes(1) as (store,):
        await store.save(record())
        lease = await store.lock("a")
        await until(lambda: not is_locked("a"))
        assert (await lease.save(b"slow")).data == b"slow"


async def test_waiting_for_a_lock_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """StoreBusy is raised at the timeout, and no turn stays reserved."""
    monkeypatch.setattr(redis_locks, "_LOCK_TIMEOUT", 0.2)
    async with processes() as (one, two):
        lease = await one.lock("a")
        with pytest.raises(StoreBusy, match="another process"):
            await two.lock("a")
        await lease.release()
        await (await asyncio.wait_for(one.lock("a"), 2)).release()


async def test_the_lock_of_a_dead_process_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease ends, and the next lock reads what was stored before."""
    monkeypatch.setattr(redis_locks, "_LEASE_TIMEOUT", 300)
    async with processes() as (dead, other):
        await dead.save(record())
        await dead.lock("a")
        lease = await other.lock("a")
        assert lease.record == record()
        await lease.release()


async def test_a_lock_reads_changes_of_other_processes() -> None:
    """It brings the times and the data that another process wrote to a cached record."""
    async with processes() as (one, two):
        await one.save(record())
        await two.touch({"a": (1050.0, 1150.0)})
        lease = await one.lock("a")
        assert lease.record == record(seen=1050.0)
        await lease.release()
        await (await two.lock("a")).save(b"new")
        lease = await one.lock("a")
        assert lease.record == record(data=b"new", seen=1050.0, version=2)
        await lease.release()


async def test_a_lock_does_not_transfer_cached_data() -> None:
    """The data of a large session is read once, not for each edit."""
    async with processes() as (one, two):
        await one.save(record(data=bytes(100_000)))
        await (await two.lock("a")).release()
        with shared_server().client() as redis:
            before = redis.info("stats")["total_net_output_bytes"]
            for _ in range(10):
                lease = await two.lock("a")
                assert lease.record == record(data=bytes(100_000))
                await lease.release()
            assert redis.info("stats")["total_net_output_bytes"] - before < 100_000


async def test_a_lock_of_a_cached_record_is_answered_by_one_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Times are compared in the form in which Redis has them, whatever their digits."""
    read: list[bytes] = []
    data_received = Connection.data_received

    def noting(connection: Connection, data: bytes) -> None:
        read.append(data)
        data_received(connection, data)

    monkeypatch.setattr(Connection, "data_received", noting)
    async with processes(1) as (store,):
        await (await store.lock("z")).release()  # Redis knows the script from now on
        for id, seen in (("a", 1000.0), ("b", 1763999999.1234567), ("c", 0.1 + 0.2)):
            await store.save(record(id, seen=seen))
            read.clear()
            lease = await store.lock(id)
            assert read == [b"$7\r\ncurrent\r\n"]
            assert lease.record == record(id, seen=seen)
            await lease.save(b"new")


async def test_a_cancelled_call_does_not_disturb_others() -> None:
    """Its reply is dropped, and the connection goes on."""
    async with processes(1) as (store,):
        await store.save(record())
        wire = store._client._connection
        tired = asyncio.ensure_future(store.load("a"))
        loads = [asyncio.ensure_future(store.load(id)) for id in ("a", "b", "a")]
        await asyncio.sleep(0)
        tired.cancel()
        assert await asyncio.gather(*loads) == [record(), None, record()]
        assert tired.cancelled()
        assert store._client._connection is wire


async def test_a_late_touch_does_not_move_times_back() -> None:
    """Of two processes that saw a client, the later time counts."""
    async with processes() as (one, two):
        await one.save(record())
        await one.touch({"a": (1050.0, 1150.0)})
        await two.touch({"a": (1020.0, 1120.0)})
        assert await two.load("a") == record(seen=1050.0)
        assert await two.purge(1130.0, 10) == []


async def test_records_and_indexes_have_a_time_to_live() -> None:
    """Record and index have a time to live that a touch extends; what never ends has none.

    It is a month longer than the session's: a Redis whose clock is set forward by two days for a
    moment must not remove sessions that processes still serve.
    """
    month = 30 * 86_400_000
    async with processes(1) as (store,):
        with shared_server().client() as redis:
            await store.save(record("a", user_id="anna"))
            first = redis.pttl("latchkey:{a}")
            assert month + 90_000 < first <= month + 100_000
            assert redis.pttl("latchkey:user:anna") >= first - 1000
            await store.touch({"a": (2000.0, 12_000.0)})
            assert redis.pttl("latchkey:{a}") > month + 9_000_000
            assert redis.pttl("latchkey:user:anna") > month + 9_000_000
            await store.save(record("b", user_id="anna", expires=float("inf")))
            assert redis.pttl("latchkey:{b}") == redis.pttl("latchkey:user:anna") == -1
            await store.destroy("a")
            await store.destroy("b")
            assert redis.keys("latchkey:*") == []


async def test_an_index_drops_ids_without_a_record() -> None:
    """The sessions of a user, and those to purge, are the ones that have a record."""
    async with processes(1) as (store,):
        with shared_server().client() as redis:
            await store.save(record("a", user_id="anna"))
            await store.save(record("b", user_id="anna"))
            redis.delete("latchkey:{a}")
            assert [found.id for found in await store.of_user("anna")] == ["b"]
            assert redis.zrange("latchkey:user:anna", 0, -1) == [b"b"]
            assert [found.id for found in await store.purge(2000.0, 10)] == ["b"]
            assert redis.zrange("latchkey:expiry", 0, -1) == []


def counted(store: RedisStore) -> Counter[str]:
    """Return the names of the scripts that this store runs from now on, counted."""
    names = {id(script): name for name, script in vars(redis_scripts).items()}
    calls: Counter[str] = Counter()
    run = store._client.run

    async def count(script: Script, keys: tuple[Word, ...], *args: Word) -> Any:
        calls[names[id(script)]] += 1
        return await run(script, keys, *args)

    store._client.run = count  # type: ignore[method-assign]
    return calls


async def test_sessions_of_an_older_release_are_found_by_public_id() -> None:
    """An older release wrote no index of public ids; the first call makes it, once."""
    async with processes() as (one, _):
        for number in range(7):
            await one.save(record(str(number), seen=1000.0 + number, user_id="anna"))
        with shared_server().client() as client:
            for number in range(5):
                client.hdel(f"latchkey:{{{number}}}", "public")
                client.hdel("latchkey:public:anna", public_id(str(number)))
            client.zadd("latchkey:user:anna", {"gone": 1.0})
        calls = counted(one)
        found = await asyncio.gather(*(one.find("anna", public_id("3")) for _ in range(20)))
        assert found == [record("3", seen=1003.0, user_id="anna")] * 20
        assert calls["UNINDEXED"] == 2
        calls.clear()
        for number in range(7):
            assert await one.find("anna", public_id(str(number))) is not None
        assert await one.find("anna", "unknown") is None
        assert calls == {"FIND": 8}
        assert await one.count("anna") == 7


async def test_an_index_drops_public_ids_without_a_record() -> None:
    """An older release leaves the public id of an ended session in the index."""
    async with processes() as (one, _):
        await one.save(record("a", user_id="anna"))
        with shared_server().client() as client:
            client.delete("latchkey:{a}")
            assert await one.find("anna", public_id("a")) is None
            assert client.hlen("latchkey:public:anna") == 0


async def test_the_index_of_public_ids_lives_as_long_as_the_sessions() -> None:
    """Redis forgets it with the list of the user, also after a touch."""
    async with processes() as (one, _):
        await one.save(record("a", user_id="anna"))
        await one.touch({"a": (2000.0, 12_000.0)})
        with shared_server().client() as client:
            lists = client.pttl("latchkey:user:anna"), client.pttl("latchkey:public:anna")
            assert lists[0] == pytest.approx(lists[1], abs=2000)
        await one.save(record("b", user_id="anna", expires=math.inf))
        with shared_server().client() as client:
            assert client.pttl("latchkey:public:anna") == -1


async def test_two_processes_purge_each_record_once() -> None:
    """Each record is returned to one of them only."""
    async with processes() as stores:
        for number in range(100):
            await stores[0].save(record(str(number)))
        found = await asyncio.gather(*(store.purge(2000.0, 80) for store in stores))
        ids = [gone.id for portion in found for gone in portion]
        assert len(ids) == len(set(ids)) == 100


async def test_a_record_is_cached_until_it_is_removed() -> None:
    """Records that were read or written here are cached until another process ends the session."""
    async with processes() as (one, two):
        await one.save(record())
        assert one.cached("a") == record()
        assert two.cached("a") is None
        lease = await two.lock("a")
        await lease.save(b"new")
        assert one.cached("a") == record()
        assert await one.load("a") == one.cached("a") == two.cached("a")
        await two.destroy("a")
        await until(lambda: one.cached("a") is None)


async def test_a_lost_connection_clears_the_cache() -> None:
    """Removals cannot be heard without it; afterwards records are read again."""
    async with processes(1) as (store,):
        await store.save(record())
        with shared_server().client() as redis:
            redis.client_kill_filter(_type="pubsub")
        await until(lambda: store.cached("a") is None)
        await until(lambda: store._client.connected)
        assert await store.load("a") == store.cached("a") == record()


async def test_flushed_scripts_are_loaded_again() -> None:
    """SCRIPT FLUSH costs a round trip and nothing else."""
    async with processes(1) as (store,):
        await store.save(record())
        with shared_server().client() as redis:
            redis.script_flush()
        results = await asyncio.gather(store.lock("a"), store.save(record("b")), store.destroy("b"))
        await results[0].save(b"new")
        assert (await store.load_many(["a"]))["a"].data == b"new"


async def test_a_lock_is_released_after_a_script_flush(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next lock need not wait for the end of the lease."""
    monkeypatch.setattr(redis_locks, "_LEASE_TIMEOUT", 60_000)
    async with processes() as (one, two):
        await one.save(record())
        lease = await one.lock("a")
        with shared_server().client() as redis:
            redis.script_flush()
        await lease.release()
        await (await asyncio.wait_for(two.lock("a"), 2)).release()


async def test_a_lost_release_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If the connection is lost with the command, the next lock need not wait for the lease."""
    monkeypatch.setattr(redis_locks, "_LEASE_TIMEOUT", 60_000)
    async with processes() as (one, two):
        await one.save(record())
        await two.ping()
        lease = await one.lock("a")
        wire = one._client._connection
        assert wire is not None
        await lease.release()
        wire.abort()  # before the loop has written it
        await (await asyncio.wait_for(two.lock("a"), 2)).release()


_B = "'latchkey:{b}'"
SPOILT = {
    "no number": ("HSET", "latchkey:{b}", "version", "x"),
    "no times": ("HDEL", "latchkey:{b}", "seen"),
    "no data": ("HDEL", "latchkey:{b}", "data"),
    "no birth": ("HSET", "latchkey:{b}", "made", b"\xc1"),
    "no text": ("HSET", "latchkey:{b}", "user", b"\xff"),
    "no hash": ("EVAL", f"redis.call('del', {_B}) redis.call('rpush', {_B}, 1)", "0"),
}


@pytest.mark.parametrize("how", SPOILT)
async def test_an_invalid_record_does_not_affect_others(how: str) -> None:
    """It counts as missing, and batches go on with the other records."""
    async with processes() as (one, two):
        for id in "abc":
            await one.save(record(id, user_id="ann"))
        with shared_server().client() as redis:
            redis.execute_command(*SPOILT[how])
        if how != "no hash":
            await (await one.lock("b")).release()  # who knows it as it was
            lease = await two.lock("b")
            assert lease.record is None
            await lease.release()
        assert set(await two.load_many(["a", "b", "c"])) == {"a", "c"}
        assert {found.id for found in await two.of_user("ann")} == {"a", "c"}
        assert {found.id for found in await two.purge(5000.0, 10)} == {"a", "c"}
        with shared_server().client() as redis:
            assert redis.exists("latchkey:{b}") == 0
            assert redis.zcard("latchkey:expiry") == 0


@contextlib.contextmanager
def watched(store: RedisStore) -> Iterator[list[bytes]]:
    """Note what a connected store writes to its socket."""
    wire = store._client._connection
    assert wire is not None
    writes: list[bytes] = []
    transport: Any = wire._transport
    assert transport is not None

    class Watched:
        def write(self, data: bytes) -> None:
            writes.append(data)
            transport.write(data)

        def is_closing(self) -> bool:
            return bool(transport.is_closing())

    wire._transport = Watched()  # type: ignore[assignment]
    try:
        yield writes
    finally:
        wire._transport = transport


async def test_commands_of_one_turn_are_one_write() -> None:
    """A hundred loads at once are one write to the socket."""
    async with processes(1) as (store,):
        await store.ping()
        with watched(store) as writes:
            await asyncio.gather(*(store.load(str(number)) for number in range(100)))
        assert len(writes) == 1


async def test_commands_gather_while_a_batch_is_unanswered() -> None:
    """The commands of many turns are one more write, when the replies arrive."""
    async with processes(1) as (store,):
        await store.ping()
        with watched(store) as writes, shared_server().client() as redis:
            redis.client_pause(500)
            loads = []
            for number in range(5):
                loads.append(asyncio.ensure_future(store.load(str(number))))
                await asyncio.sleep(0.01)
            assert len(writes) == 1
            await asyncio.gather(*loads)
        assert len(writes) == 2


async def test_commands_that_follow_replies_are_one_write() -> None:
    """Twenty edits that lock and save are two writes."""
    async with processes(1) as (store,):
        await store.ping()
        await asyncio.gather(*(store.save(record(str(number))) for number in range(20)))
        await store.save(record("other"))
        lease = await store.lock("other")  # Redis knows the scripts from now on
        await lease.save(b"new")
        tasks, ended = Tasks(), asyncio.Semaphore(0)

        async def edit(id: str) -> None:
            lease = await store.lock(id)
            await lease.save(b"new")

        with watched(store) as writes:
            for number in range(20):
                assert tasks.start(edit(str(number)), lambda _: ended.release())
            for _ in range(20):
                await asyncio.wait_for(ended.acquire(), 2)
        assert len(writes) == 2
        found = await store.load_many([str(number) for number in range(20)])
        assert {record.data for record in found.values()} == {b"new"}


async def test_a_call_after_a_lost_connection_uses_a_new_one() -> None:
    """A caller whose command failed with the connection may call again at once."""
    async with processes(1) as (store,):
        await store.save(record())
        wire = store._client._connection
        assert wire is not None
        tasks, ended = Tasks(), asyncio.Event()
        outcomes: list[Any] = []

        async def edit() -> None:
            with pytest.raises(StoreUnavailable):
                await store.lock("a")
            outcomes.append(store._client.connected)
            outcomes.append(await store.load("a"))

        assert tasks.start(edit(), lambda _: ended.set())
        wire.abort()
        await asyncio.wait_for(ended.wait(), 2)
        assert outcomes == [False, record()]


async def test_another_database_of_the_same_redis_is_another_store() -> None:
    """The number in the URL counts."""
    url = empty_redis()
    async with processes(1, url) as (zero,), processes(1, url[:-1] + "3") as (three,):
        await zero.save(record())
        assert await three.load("a") is None


# -- what cannot be used --


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://localhost",
        "redis+sentinel://localhost/service/db",
        "redis+sentinel://a:b:c/service",
        "redis+sentinel://localhost:\u0662\u0666/service",
        "redis+sentinel://localhost:26379/service/\u0661",
        "redis+sentinel://localhost:/service",
        "redis://localhost/0?socket_timeout=x",
    ],
)
def test_invalid_urls_are_refused(url: str) -> None:
    """The message begins with the setting."""
    with pytest.raises(InvalidRedisUrl, match="--store: "):
        Address(url)


async def refused(tmp_path: Path, url: str, *flags: str) -> str:
    """Start `python -m app` with this store; return the one line that it ends with."""
    code, out, err = await run("--port=0", f"--data-dir={tmp_path}", f"--store={url}", *flags)
    assert out == ""
    assert code in (1, 2)
    line = err.strip().splitlines()[-1]
    assert line.startswith("latchkey: ")
    assert "Traceback" not in err
    return line


async def test_redis_needs_secret_keys(tmp_path: Path) -> None:
    """Other processes would not know a key that one process generated."""
    assert "--secret-keys" in await refused(tmp_path, "redis://127.0.0.1:1/0")


async def test_an_unreachable_redis_ends_the_start(tmp_path: Path) -> None:
    """The message has the address, without the password, and the setting."""
    line = await refused(tmp_path, "redis://:hunter22@127.0.0.1:1/0", SECRET)
    assert "redis://127.0.0.1:1/0" in line
    assert "--store" in line
    assert "hunter22" not in line


async def test_a_wrong_password_ends_the_start(tmp_path: Path) -> None:
    """The message has the error of Redis; the right password works."""
    server = RedisServer(tmp_path / "redis", "--requirepass", "hunter22")
    server.start()
    try:
        plain = f"127.0.0.1:{server.port}/0"
        assert "NOAUTH" in await refused(tmp_path / "data", f"redis://{plain}", SECRET)
        wrong = await refused(tmp_path / "data", f"redis://:wrong@{plain}", SECRET)
        assert "WRONGPASS" in wrong
        assert ":wrong@" not in wrong
        async with processes(1, f"redis://:hunter22@{plain}") as (store,):
            await store.save(record())
    finally:
        server.kill()


async def test_tls_checks_the_certificate(tmp_path: Path) -> None:
    """rediss:// trusts the certificate that the URL names, and refuses another one."""
    certificate, key = certify(tmp_path, "own")
    stranger, _ = certify(tmp_path, "stranger")
    port = free_port()
    server = RedisServer(
        tmp_path / "redis",
        *("--tls-port", str(port), "--tls-cert-file", certificate, "--tls-key-file", key),
        *("--tls-auth-clients", "no"),
    )
    server.start()
    try:
        url = f"rediss://localhost:{port}/0?ssl_ca_certs="
        async with processes(1, url + certificate) as (store,):
            await store.save(record())
            assert await store.load("a") == record()
        assert "certificate verify failed" in await refused(tmp_path, url + stranger, SECRET)
    finally:
        server.kill()


def certify(folder: Path, name: str) -> tuple[str, str]:
    """Make a certificate for localhost that signs itself; return its path and its key's."""
    certificate, key = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", certificate),
        ],
        capture_output=True,
        check=True,
    )
    return certificate, key


async def test_a_redis_cluster_is_refused(tmp_path: Path) -> None:
    """It would spread keys that belong together; the message says so."""
    bus = ("--cluster-port", str(free_port()))
    server = RedisServer(tmp_path / "redis", "--cluster-enabled", "yes", *bus)
    server.start()
    try:
        assert "Cluster" in await refused(tmp_path / "data", server.url, SECRET)
    finally:
        server.kill()


async def test_a_replica_is_refused(tmp_path: Path) -> None:
    """It takes no writes; the message says to name its master."""
    server = RedisServer(tmp_path / "redis", "--replicaof", "127.0.0.1", "1")
    server.start()
    try:
        assert "replica" in await refused(tmp_path / "data", server.url, SECRET)
    finally:
        server.kill()


async def test_an_evicting_redis_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It works, and the log says what to set."""
    server = RedisServer(
        tmp_path / "redis", "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"
    )
    server.start()
    try:
        async with processes(1, server.url) as (store,):
            await store.ping()
        assert "set it to noeviction" in caplog.text
    finally:
        server.kill()


async def test_a_closed_store_fails_at_once() -> None:
    """After `close` every call raises StoreUnavailable."""
    async with processes(1) as (store,):
        await store.save(record())
        await store.close()
        with pytest.raises(StoreUnavailable):
            await store.load("a")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("NOSCRIPT No matching script. Please use EVAL.", "NOSCRIPT"),
        ("READONLY You can't write ... script: f1, on @user_script:5.", "READONLY"),
        (
            "ERR Error running script (call to f_1): @user_script:5: @user_script: 5: "
            "-READONLY You can't write against a read only replica.",
            "READONLY",
        ),
        ("ERR Error running script (call to f_1): @user_script:1: @user_script: 1: oh", "ERR"),
    ],
)
def test_the_code_of_an_error_in_a_script_is_found(text: str, code: str) -> None:
    """Redis 7 begins the message with it, Redis 6.2 does not."""
    assert ReplyError(text).code == code
