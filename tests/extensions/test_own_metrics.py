"""What modules register with prometheus_client shows on /metrics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from tests.support.fork import fork
from tests.support.site import Site, serve
from tests.support.visitor import Visitor


async def scrape(site: Site) -> dict[str, float]:
    async with Visitor(site.url) as visitor:
        status, text = await visitor.get("/metrics")
    assert status == 200
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert sorted(names) == sorted(set(names))
    return {sample.name: sample.value for family in families for sample in family.samples}


async def test_each_way_to_declare_metrics_shows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry, one metric, several, or a function that makes them for its application."""
    registry = CollectorRegistry()
    Counter("chat_messages", "Messages.", registry=registry).inc(3)
    rooms = Gauge("chat_rooms", "Rooms.", registry=None)
    jobs = [Counter(f"jobs_{name}", "Jobs.", registry=None) for name in ("begun", "ended")]
    modules = [
        *fork(monkeypatch, metrics=registry),
        fork(monkeypatch, metrics=rooms)[-1],
        fork(monkeypatch, metrics=jobs)[-1],
        fork(monkeypatch, metrics=lambda services: [Sessions(services)])[-1],
    ]
    async with serve(tmp_path, modules=tuple(modules)) as site:
        rooms.set(2)
        jobs[1].inc()
        samples = await scrape(site)
    assert samples["chat_messages_total"] == 3
    assert samples["chat_rooms"] == 2
    assert (samples["jobs_begun_total"], samples["jobs_ended_total"]) == (0, 1)
    assert samples["sessions_with_sockets"] == 0
    assert "latchkey_connected_sessions" in samples


class Sessions(Collector):
    def __init__(self, services: Any) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        number = len(self._services.connections.session_ids())
        yield GaugeMetricFamily("sessions_with_sockets", "Sessions.", value=number)


async def test_two_applications_count_apart_if_a_function_makes_the_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No registry is shared, so neither has a metric twice."""
    made: list[Counter] = []

    def metrics(services: Any) -> list[Collector]:
        made.append(Counter("orders", "Orders.", registry=None))
        return [made[-1]]

    modules = fork(monkeypatch, metrics=metrics)
    async with (
        serve(tmp_path / "1", modules=modules) as one,
        serve(tmp_path / "2", modules=modules) as two,
    ):
        made[0].inc()
        assert (await scrape(one))["orders_total"] == 1
        assert (await scrape(two))["orders_total"] == 0


@pytest.mark.parametrize(
    "name", ["orders", "latchkey_connections", "latchkey_requests", "process_cpu_seconds"]
)
async def test_a_name_that_is_taken_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By another module, or by the program."""
    registry = CollectorRegistry()
    Counter("orders", "Orders.", registry=registry)
    first = fork(monkeypatch, metrics=registry)
    *_, second = fork(monkeypatch, metrics=[Counter(name, "Others.", registry=None)])
    with pytest.raises(ValueError, match=f"{second}: there is a metric {name} already"):
        async with serve(tmp_path, modules=(*first, second)):
            pass


async def test_what_is_no_metric_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="assign a CollectorRegistry, a list of metrics"):
        async with serve(tmp_path, modules=fork(monkeypatch, metrics=["orders"])):
            pass


class Fragile(Collector):
    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        raise OSError("no database")


class Twice(Fragile):
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("latchkey_connected_sessions", "Not ours.", value=99)
        yield GaugeMetricFamily("own", "Ours.", value=1)


async def test_a_collector_that_fails_leaves_the_other_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """So does one that yields a name that is taken; the log has both."""
    modules = fork(monkeypatch, metrics=[Fragile(), Twice()])
    async with serve(tmp_path, modules=modules) as site:
        samples = await scrape(site)
    assert samples["latchkey_connected_sessions"] == 0
    assert samples["own"] == 1
    assert f"metrics of a module could not be read module={modules[-1]}" in caplog.text
    assert "no database" in caplog.text
    assert "metric left out, its name is taken name=latchkey_connected_sessions" in caplog.text
