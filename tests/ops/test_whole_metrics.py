"""Metrics of everything that a process does and depends on, from zero."""

from __future__ import annotations

import asyncio
import re
import subprocess
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from app import __version__
from app.database import DatabaseUnavailable
from app.web.route_names import readable
from tests.support.exported import kinds, scrape, whole_text
from tests.support.paths import ROOT
from tests.support.raw import Raw
from tests.support.redis_server import shared_server
from tests.support.requirements import find_program
from tests.support.site import Site, serve
from tests.support.sites import sites
from tests.support.visitor import Visitor
from tests.support.waiting import until
from tests.support.watched_store import WatchedStore


async def test_counters_begin_at_zero(site: Site, ann: Visitor) -> None:
    """A rate does not see the first of what is counted, if that makes the counter."""
    samples = await scrape(ann)
    for name in (
        "latchkey_requests_total{code=500}",
        "latchkey_handshakes_total{result=forbidden}",
        "latchkey_event_errors_total{error=internal}",
        "latchkey_event_seconds_count{event=incr,namespace=/}",
        "latchkey_limits_hit_total{limit=failed_logins_per_minute}",
        "latchkey_session_ends_total{reason=revoked}",
        "latchkey_connections_closed_total{reason=ping timeout}",
        "latchkey_mails_total{result=given up}",
        "latchkey_sign_ins_total{method=password+totp,result=wrong}",
        "latchkey_store_errors_total{call=save}",
        "latchkey_store_calls_total{call=destroy}",
        "latchkey_database_errors_total{error=failed,pool=accounts hash}",
        "latchkey_job_runs_total{name=latchkey.audit_trail,result=failed}",
        "latchkey_loop_stalls_total",
    ):
        assert samples[name] == 0, name


async def test_what_is_counted_was_there_before(site: Site, ann: Visitor) -> None:
    """No label comes up in a day's work that did not begin at zero; times of requests aside."""
    before = await scrape(ann)
    await ann.sign_up("ann")
    socket = await ann.socket("websocket")
    await socket.call("incr")
    await ann.get("/nothing")
    await ann.post("/incr", headers={"Origin": "http://evil.example"})
    await ann.post("/logout")
    await ann.post("/login", json={"username": "ann", "password": "wrong wrong wrong"})
    new = {name for name in await scrape(ann) if name not in before}
    assert {name for name in new if not name.startswith("latchkey_request_seconds")} == set()


async def test_requests_are_timed_by_method_route_and_class_of_status(
    site: Site, ann: Visitor
) -> None:
    """Neither paths nor words of clients become labels."""
    await ann.incr()
    await ann.get("/nothing/of/this/kind")
    await ann.get("/socket.io/?EIO=4&transport=polling")
    async with Raw(site.url) as raw:
        await raw.ask("/", method="PURGE")
    samples = await scrape(ann)
    prefix = "latchkey_request_seconds_count"
    assert samples[f"{prefix}{{code_class=2xx,method=POST,route=/incr}}"] == 1
    assert samples[f"{prefix}{{code_class=2xx,method=GET,route=/socket.io}}"] == 1
    assert samples[f"{prefix}{{code_class=4xx,method=GET,route=none}}"] == 1
    assert samples[f"{prefix}{{code_class=4xx,method=other,route=/}}"] == 1
    assert not any("nothing" in name or "PURGE" in name for name in samples)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"/socket\.io/?", "/socket.io"),
        (r"/user/([0-9]+)", "/user/{}"),
        (r"/a/(?P<which>(x|y)+)/b", "/a/{which}/b"),
        ("/$", "/"),
    ],
)
def test_a_route_is_named_by_its_pattern(pattern: str, name: str) -> None:
    """Without regular expressions, which are hard to read in a query."""
    assert readable(pattern) == name


async def test_the_database_shows_its_threads_queue_and_failures(site: Site, ann: Visitor) -> None:
    """Four jobs have a thread, the others wait; a database that fails is counted."""
    database, let_go = site.services.database, threading.Event()

    def waits(connection: sa.Connection) -> None:
        let_go.wait(20)

    def fails(connection: sa.Connection) -> None:
        raise OperationalError("select", {}, Exception("the disk is gone"))

    jobs = [asyncio.ensure_future(database.read(waits)) for _ in range(6)]
    await until(lambda: database.workers.running == 4)
    samples = await scrape(ann)
    let_go.set()
    await asyncio.gather(*jobs)
    with pytest.raises(DatabaseUnavailable):
        await database.run(fails)
    after = await scrape(ann)
    assert samples["latchkey_database_up"] == samples["latchkey_ready"] == 1
    assert samples["latchkey_database_threads{pool=database}"] == 4
    assert samples["latchkey_database_calls_running{pool=database}"] == 4
    assert samples["latchkey_database_calls_waiting{pool=database}"] == 2
    assert after["latchkey_database_calls_running{pool=database}"] == 0
    assert after["latchkey_database_seconds_count{pool=database}"] == 7
    assert after["latchkey_database_errors_total{error=failed,pool=database}"] == 1


async def test_the_link_to_redis_shows_reconnects_and_round_trips(tmp_path: Path) -> None:
    """A link that was lost and came back is up, and counted."""
    async with sites(tmp_path, 1) as (site,), Visitor(site.url) as ann:
        await ann.incr()
        before = await scrape(ann)
        with shared_server().client() as redis:
            redis.execute_command("CLIENT KILL TYPE pubsub")
        client = site.app.cluster.client
        await until(lambda: client.connects == 2)
        after = await scrape(ann)
    assert before["latchkey_redis_up"] == after["latchkey_redis_up"] == 1
    assert before["latchkey_redis_round_trip_seconds_count"] > 3
    assert before["latchkey_redis_reconnects_total"] == 0
    assert after["latchkey_redis_reconnects_total"] == 1
    assert after["latchkey_stored_sessions{store=redis}"] == 1


async def test_a_store_that_is_down_is_shown_as_down(tmp_path: Path) -> None:
    """Expiry pauses, and its lag grows; the process is not ready."""
    store = WatchedStore()
    serving = serve(tmp_path, store=store, expiry_interval=0.05)
    async with serving as site, Visitor(site.url) as ann:
        socket = await ann.socket("websocket")
        up = await scrape(ann)
        store.down = True
        await site.services.expiry.resume()
        down = await scrape(ann)
        store.down = False
        await socket.close()
    assert up["latchkey_store_up"] == up["latchkey_ready"] == 1
    assert up["latchkey_expiry_paused"] == 0
    assert up["latchkey_stored_sessions{store=sqlite}"] == 1
    assert down["latchkey_store_up"] == down["latchkey_ready"] == 0
    assert down["latchkey_expiry_paused"] == 1
    assert down["latchkey_expiry_lag_seconds"] > up["latchkey_expiry_lag_seconds"]
    assert down["latchkey_store_errors_total{call=ping}"] == 1


async def test_a_scrape_does_not_wait_for_a_store_that_hangs(tmp_path: Path) -> None:
    """The metrics of the process come anyway, after a second."""

    class Hanging(WatchedStore):
        async def ping(self) -> None:
            await asyncio.Event().wait()

    async with serve(tmp_path, store=Hanging()) as site, Visitor(site.url) as ann:
        samples = await scrape(ann)
        assert samples["latchkey_database_up"] == 1
        assert "latchkey_store_up" not in samples  # nothing is known yet
        await until(lambda: "store" in site.services.readiness.passed)
        assert (await scrape(ann))["latchkey_store_up"] == 0


async def test_jobs_are_counted_by_name_and_result(site: Site, ann: Visitor) -> None:
    """With the time of the latest success."""

    def fail() -> None:
        raise ValueError("on purpose")

    site.services.every(0.01, lambda: None, name="tidy")
    site.services.every(0.01, fail, name="fail")
    runs = site.services.jobs.runs
    await until(lambda: runs["tidy", "succeeded"] and runs["fail", "failed"])
    samples = await scrape(ann)
    assert samples["latchkey_job_runs_total{name=tidy,result=succeeded}"] >= 1
    assert samples["latchkey_job_runs_total{name=tidy,result=failed}"] == 0
    assert samples["latchkey_job_runs_total{name=fail,result=failed}"] >= 1
    assert samples["latchkey_job_last_success_timestamp_seconds{name=tidy}"] > 1e9
    assert "latchkey_job_last_success_timestamp_seconds{name=fail}" not in samples


async def test_the_page_describes_every_metric(tmp_path: Path) -> None:
    """The table in docs/observability.md, with the kind of each."""
    page = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(latchkey_\w+)`.*?\| (\w+) \|", page, re.MULTILINE))
    text = await whole_text(tmp_path)
    assert listed == {name: kind for name, kind in kinds(text).items() if name[:8] == "latchkey"}


async def test_promtool_finds_no_fault_with_the_metrics(tmp_path: Path) -> None:
    """Names, units and help are as Prometheus wants them."""
    promtool = find_program("promtool", package="prometheus")
    text = await whole_text(tmp_path)
    assert f'version="{__version__}"' in text
    done = await asyncio.to_thread(
        subprocess.run, [promtool, "check", "metrics"], input=text.encode(), capture_output=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
