"""What /metrics shows: as text, as samples, and the names of all metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.redis_server import empty_redis
from tests.support.sites import sites
from tests.support.visitor import Visitor

Samples = dict[str, float]


async def metrics_text(visitor: Visitor) -> str:
    """Return the text that a Prometheus gets."""
    status, text = await visitor.get("/metrics")
    assert status == 200
    return str(text)


async def scrape(visitor: Visitor) -> Samples:
    """Return the value of every sample by its name and labels, as a Prometheus would read it."""
    samples: Samples = {}
    for family in text_string_to_metric_families(await metrics_text(visitor)):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            name = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert name not in samples, f"{name} is there twice"
            samples[name] = sample.value
    return samples


async def whole_text(tmp_path: Any) -> str:
    """Return the text of a process that has every part: over Redis, and after a request."""
    async with sites(tmp_path, 1, url=empty_redis()) as (site,), Visitor(site.url) as ann:
        await ann.incr()
        site.services.every(0.01, lambda: None, name="job")
        while not site.services.jobs.succeeded_at:
            await ann.get("/")
        return await metrics_text(ann)


def kinds(text: str) -> Mapping[str, str]:
    """Return the kind of each metric in a text, such as "counter", by its name."""
    return dict(re.findall(r"^# TYPE (\w+) (\w+)", text, re.MULTILINE))


def unknown(asked: set[str], text: str) -> set[str]:
    """Return those names of samples that no metric of this text has."""
    there = kinds(text)
    histograms = "|".join(name for name, kind in there.items() if kind == "histogram")
    of_histograms = re.compile(f"({histograms})_(bucket|count|sum)")
    return {name for name in asked if name not in there and not of_histograms.fullmatch(name)}
