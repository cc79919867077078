"""The metrics that modules of handlers/ register with prometheus_client."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from app.common.log_and_continue import logged

log = logging.getLogger("latchkey.metrics")

#: Metrics of a module: a registry, a counter or another collector, or several collectors.
OwnMetrics = CollectorRegistry | Collector | Iterable[Collector]


class OwnCollectors:
    """Collects the metrics of modules; what one does wrong costs the others nothing."""

    def __init__(self) -> None:
        self._collectors: list[tuple[str, Collector]] = []
        self._reported: set[str] = set()

    def add(self, module: str, collectors: Sequence[Collector], taken: set[str]) -> None:
        """Add the metrics of a module.

        `taken` are the names of the program's metrics. Raises ValueError if a metric has the name
        of another one.
        """
        for owner, collector in self._collectors:
            taken |= _names(owner, collector)
        for collector in collectors:
            names = _names(module, collector)
            if twice := names & taken:
                raise ValueError(
                    f"{module}: there is a metric {min(twice)} already; choose another name"
                )
            taken |= names
            self._collectors.append((module, collector))

    def collect(self, taken: set[str]) -> Iterator[Metric]:
        """Yield the metrics of all modules, except those whose names are taken."""
        for module, collector in self._collectors:
            for family in _families(module, collector):
                if family.name not in taken:
                    taken.add(family.name)
                    yield family
                elif family.name not in self._reported:
                    self._reported.add(family.name)
                    log.error("metric left out, its name is taken name=%s", family.name)


def collectors_of(module: str, metrics: OwnMetrics) -> list[Collector]:
    """Return the collectors of a module; raises ValueError if its `metrics` are no metrics."""
    found: Any = [metrics] if hasattr(metrics, "collect") else metrics
    if not isinstance(found, Iterable) or not all(hasattr(each, "collect") for each in found):
        raise ValueError(
            f"{module}: `metrics` is {metrics!r}; assign a CollectorRegistry, a list of metrics of "
            "prometheus_client, or a function that takes the services and returns one of these"
        )
    return list(found)


def _names(module: str, collector: Any) -> set[str]:
    """Return the names of metrics that are known before anything was counted."""
    describe = getattr(collector, "describe", None)
    families = _families(module, collector) if describe is None else describe()
    return {family.name for family in families}


def _families(module: str, collector: Collector) -> list[Metric]:
    with logged(log, "metrics of a module could not be read module=%s", module):
        return list(collector.collect())
    return []
