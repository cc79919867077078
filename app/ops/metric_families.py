"""Counts and durations in the form that prometheus_client shows."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from app.common.histogram import BOUNDS, Histogram

PREFIX = "latchkey_"
_BOUNDS = (*map(repr, BOUNDS), "+Inf")
#: The value of a label, or the values of several.
_Labels = TypeVar("_Labels", bound=str | tuple[str, ...])


def counter(name: str, meaning: str, counts: Mapping[_Labels, int], *labels: str) -> Metric:
    """Return a counter for each value of its labels."""
    family = CounterMetricFamily(PREFIX + name, meaning, labels=labels)
    for values, count in counts.items():
        family.add_metric([values] if isinstance(values, str) else values, count)
    return family


def gauge(name: str, meaning: str, values: Mapping[_Labels, float], *labels: str) -> Metric:
    """Return a gauge for each value of its labels."""
    family = GaugeMetricFamily(PREFIX + name, meaning, labels=labels)
    for label, value in values.items():
        family.add_metric([label] if isinstance(label, str) else label, value)
    return family


def number(name: str, meaning: str, value: float) -> Metric:
    """Return a gauge without labels."""
    return GaugeMetricFamily(PREFIX + name, meaning, value=value)


def total(name: str, meaning: str, value: int) -> Metric:
    """Return a counter without labels."""
    return CounterMetricFamily(PREFIX + name, meaning, value=value)


def histogram(
    name: str, meaning: str, histograms: Mapping[tuple[str, ...], Histogram], *labels: str
) -> Metric:
    """Return a histogram of seconds for the values of each set of labels."""
    family = HistogramMetricFamily(PREFIX + name, meaning, labels=labels)
    for values, durations in histograms.items():
        counts = map(float, accumulate(durations.buckets()))
        family.add_metric(values, list(zip(_BOUNDS, counts, strict=True)), durations.total)
    return family
