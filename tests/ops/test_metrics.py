"""/metrics, and the dashboard that shows it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from app.backup.backup import backup
from app.backup.errors import BackupError
from app.common.histogram import BOUNDS, Histogram
from app.operator.actor import COMMAND_LINE
from app.sockets.base_namespace import BaseNamespace
from app.stores import StoreUnavailable
from app.stores.memory import MemoryStore
from tests.support.exported import Samples, kinds, scrape, unknown, whole_text
from tests.support.fork import fork
from tests.support.forms import PASSWORD
from tests.support.paths import ROOT
from tests.support.raw import WEBSOCKET, Raw
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until


def total(samples: Samples, prefix: str) -> float:
    return sum(value for name, value in samples.items() if name.startswith(prefix))


async def test_connections_are_counted_by_transport(site: Site, ann: Visitor) -> None:
    """Open ones as they are, closed ones by the reason, and the sessions that they belong to."""
    async with Visitor(site.url) as bob:
        await ann.incr()
        first = await ann.socket("websocket")
        await ann.socket("polling")
        third = await bob.socket("websocket")
        before = await scrape(ann)
        assert before["latchkey_connections{transport=websocket}"] == 2
        assert before["latchkey_connections{transport=polling}"] == 1
        assert before["latchkey_connected_sessions"] == 2
        assert before["latchkey_handshakes_total{result=accepted}"] == 3
        await first.close()
        await third.close()
        await until(lambda: len(site.services.connections) == 1)
        after = await scrape(ann)
        assert after["latchkey_connections{transport=websocket}"] == 0
        assert after["latchkey_connected_sessions"] == 1
        assert total(after, "latchkey_connections_closed_total") == 2


async def test_refused_handshakes_and_limits_are_counted(tmp_path: Path) -> None:
    """By reason: origin, protocol or limit."""
    limits: dict[str, Any] = {"max_connections_per_session": 1, "handshakes_per_minute": 4}
    async with serve(tmp_path, **limits) as site, Visitor(site.url) as ann:
        await ann.incr()
        await ann.socket("websocket")
        cookie = ("Cookie", ann.cookie)
        for path, headers, status in (
            (WEBSOCKET, [cookie], 429),
            (WEBSOCKET, [("Origin", "http://evil.example")], 403),
            (WEBSOCKET.replace("4", "3"), [], 400),
            (WEBSOCKET, [], 101),
            (WEBSOCKET, [], 101),
            (WEBSOCKET, [], 429),
        ):
            async with Raw(site.url) as raw:
                assert (await raw.websocket(*headers, path=path)).status == status
        samples = await scrape(ann)
    for result, number in (("accepted", 3), ("limited", 2), ("forbidden", 1), ("invalid", 1)):
        assert samples[f"latchkey_handshakes_total{{result={result}}}"] == number
    assert samples["latchkey_limits_hit_total{limit=max_connections_per_session}"] == 1
    assert samples["latchkey_limits_hit_total{limit=handshakes_per_minute}"] == 1


async def test_failed_logins_and_fast_clients_are_counted_as_limited(tmp_path: Path) -> None:
    """By setting, in `limits_hit`."""
    limits: dict[str, Any] = {"failed_logins_per_minute": 1, "events_per_second": 5}
    async with serve(tmp_path, **limits) as site, Visitor(site.url) as ann:
        wrong = {"username": "ann", "password": "wrong wrong wrong"}
        assert [(await ann.post("/login", json=wrong))[0] for _ in range(2)] == [401, 429]
        socket = await ann.socket("websocket")
        await asyncio.gather(*(socket.call("count") for _ in range(12)))
        samples = await scrape(ann)
    assert samples["latchkey_limits_hit_total{limit=failed_logins_per_minute}"] == 1
    assert samples["latchkey_limits_hit_total{limit=events_per_second}"] >= 1
    assert samples["latchkey_requests_total{code=429}"] == 1


async def test_sign_ins_are_counted_by_method_and_result(tmp_path: Path) -> None:
    """From zero, so that a rate sees the first one, and a refusal of the account apart."""
    names = [
        f"latchkey_sign_ins_total{{method=password,result={result}}}"
        for result in ("accepted", "wrong", "refused")
    ]
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        samples = await scrape(ann)
        assert [samples[name] for name in names] == [0, 0, 0]
        await ann.sign_up("ann")
        for name, password in (("ann", "wrong"), ("nobody", PASSWORD)):
            await ann.post("/login", json={"username": name, "password": password})
        account = await site.services.accounts.by_name("ann")
        await site.services.operator.disable(account, COMMAND_LINE)
        await ann.post("/login", json={"username": "ann", "password": PASSWORD})
        samples = await scrape(ann)
    assert [samples[name] for name in names] == [1, 2, 1]


async def test_events_edits_and_store_calls_are_counted_and_timed(tmp_path: Path) -> None:
    """A histogram for each event, one for the wait for a lock, one for each call of the store."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        socket = await ann.socket("websocket")
        before = await scrape(ann)
        for _ in range(3):
            await socket.call("incr")
        await socket.call("count")
        await socket.call("no_such_event")
        await socket.call("incr", 1, 2, 3)
        (session_id,) = site.services.connections.session_ids()
        lease = await site.services.sessions.store.lock(session_id)
        waiting = asyncio.ensure_future(socket.call("incr"))
        await asyncio.sleep(0.3)
        await lease.release()
        await waiting
        after = await scrape(ann)

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown("latchkey_event_seconds_count{event=incr,namespace=/}") == 5
    assert grown("latchkey_event_seconds_sum{event=incr,namespace=/}") >= 0.29
    assert grown("latchkey_event_seconds_bucket{event=incr,le=+Inf,namespace=/}") == 5
    assert grown("latchkey_event_errors_total{error=unknown}") == 1
    assert grown("latchkey_event_errors_total{error=arguments}") == 1
    assert not any("no_such_event" in name for name in after)
    assert grown("latchkey_edit_lock_seconds_count") == 4
    assert grown("latchkey_edit_lock_seconds_sum") >= 0.29
    assert grown("latchkey_store_calls_total{call=save}") == 4
    assert grown("latchkey_store_calls_total{call=lock}") == 4
    assert grown("latchkey_store_calls_total{call=load}") == 1
    assert after["latchkey_store_calls_total{call=create}"] == 1


class BrokenStore(MemoryStore):
    """A store that loses its disk when the test says so."""

    broken = False

    def try_lock(self, session_id: str) -> None:
        return None

    async def lock(self, session_id: str) -> Any:
        if self.broken:
            raise StoreUnavailable("gone")
        return await super().lock(session_id)


async def test_an_ack_that_cannot_be_sent_is_counted(tmp_path: Path, monkeypatch: Any) -> None:
    """As an internal error."""

    class Odd(BaseNamespace[Any]):
        async def on_odd(self, sid: str) -> object:
            return object()

    modules = fork(monkeypatch, namespaces=[("/odd", Odd)])
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        socket = await ann.socket(namespaces=("/odd",))
        assert await socket.call("odd", namespace="/odd") == {"error": "internal error"}
        samples = await scrape(ann)
        await socket.close()
    assert samples["latchkey_event_errors_total{error=internal}"] == 1


async def test_errors_of_the_store_are_counted_by_call(tmp_path: Path) -> None:
    """As errors of the store and of the event."""
    store = BrokenStore()
    async with serve(tmp_path, store=store) as site, Visitor(site.url) as ann:
        socket = await ann.socket("websocket")
        store.broken = True
        await socket.call("incr")
        samples = await scrape(ann)
    assert samples["latchkey_store_errors_total{call=lock}"] == 1
    assert samples["latchkey_event_errors_total{error=store}"] == 1


async def test_ends_are_counted_by_reason_and_timed_to_the_last_close(tmp_path: Path) -> None:
    """A session without connections ends too, and then there is nothing to close."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as bob:
        await ann.incr()
        await bob.incr()
        await asyncio.gather(*(ann.socket("websocket") for _ in range(3)))
        assert [(await who.post("/logout"))[0] for who in (ann, bob)] == [204, 204]
        samples = await scrape(ann)
    assert samples["latchkey_session_ends_total{reason=logout}"] == 2
    assert samples["latchkey_session_end_close_seconds_count"] == 1
    assert samples["latchkey_connections_closed_total{reason=server disconnect}"] == 3


async def test_a_client_that_does_not_read_is_counted_when_it_is_closed(tmp_path: Path) -> None:
    """By the reason that its disconnect handlers are told."""
    async with (
        serve(tmp_path, send_buffer=1024, max_send_backlog=1024) as site,
        Visitor(site.url) as ann,
    ):
        await ann.socket("polling")
        server = site.services.socket_server
        for _ in range(200):
            await server.emit("noise", "x" * 10_000)
        await until(lambda: not site.services.connections)
        samples = await scrape(ann)
    assert samples["latchkey_connections_closed_total{reason=client reads too slowly}"] == 1


async def test_the_lag_of_a_blocked_loop_is_measured(tmp_path: Path) -> None:
    """The lag of a timer is measured twice a second."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await asyncio.sleep(0.45)
        time.sleep(0.5)  # the whole loop, on purpose
        await asyncio.sleep(0.2)
        samples = await scrape(ann)
    assert samples["latchkey_loop_lag_seconds_sum"] >= 0.3
    assert samples["process_open_fds"] > 0


def test_a_histogram_puts_a_duration_under_the_bound_that_it_does_not_exceed() -> None:
    """As Prometheus has it: `le` is less than or equal."""
    histogram = Histogram()
    for seconds in (BOUNDS[3] * 1.01, 0.0, 1000.0, BOUNDS[0], BOUNDS[3]):
        histogram.observe(seconds)
    buckets = histogram.buckets()
    assert buckets[0] == 2
    assert buckets[3] == buckets[4] == buckets[-1] == 1
    assert sum(buckets) == 5
    assert list(BOUNDS) == sorted(BOUNDS)


def test_a_histogram_counts_all_however_many_there_are_and_however_often_it_is_read() -> None:
    """Any number of observations, and any number of reads."""
    histogram = Histogram()
    durations = [1000.0 if number % 3 else BOUNDS[number % 17] for number in range(1000)]
    for number, seconds in enumerate(durations, 1):
        histogram.observe(seconds)
        assert len(histogram._unsorted) < 200
        if number in (70, 140, 610, 1000):
            assert histogram.total == pytest.approx(sum(durations[:number]))
            assert sum(histogram.buckets()) == number
            assert histogram.total == pytest.approx(sum(durations[:number]))
    expected = [sum(seconds == bound for seconds in durations) for bound in (*BOUNDS, 1000.0)]
    assert histogram.buckets() == expected
    histogram.at_once += 2
    assert histogram.buckets() == [expected[0] + 2, *expected[1:]]


async def test_the_dashboard_asks_for_metrics_that_exist(tmp_path: Path) -> None:
    """Every name in docs/dashboard.json is one that /metrics has, and the other way round."""
    dashboard = json.loads((ROOT / "docs" / "dashboard.json").read_text(encoding="utf-8"))
    expressions = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())
    ]
    asked = set(re.findall(r"\b(?:latchkey|process)_\w+", " ".join(expressions)))
    text = await whole_text(tmp_path)
    assert unknown(asked, text) == set()
    shown = {re.sub("_(bucket|count|sum)$", "", name) for name in asked}
    assert {name for name in kinds(text) if name.startswith("latchkey")} - shown - asked == set()
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {"${source}"}
    assert [panel["id"] for panel in dashboard["panels"]] == [
        number for number, _ in enumerate(dashboard["panels"], 1)
    ]


async def test_the_time_of_the_latest_backup_is_shown(site: Site, ann: Visitor) -> None:
    """0 until there is one; a backup that fails leaves it as it was."""
    name = "latchkey_backup_last_success_timestamp_seconds"
    assert (await scrape(ann))[name] == 0
    folder = site.services.settings.data_dir
    with pytest.raises(BackupError):
        backup(site.services.settings, folder / "inside")
    assert (await scrape(ann))[name] == 0
    began = int(time.time())
    backup(site.services.settings, folder.parent / "copy")
    assert began <= (await scrape(ann))[name] <= time.time() + 1
