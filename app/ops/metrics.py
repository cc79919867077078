"""The metrics of this process, for Prometheus."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from app.common.log_and_continue import logged
from app.ops.module_metrics import OwnCollectors, OwnMetrics, collectors_of
from app.ops.survey import Survey

log = logging.getLogger("latchkey.metrics")

#: Yields the metrics of one subject, as they are now.
Part = Callable[[], Iterator[Metric]]


class Metrics(Collector):
    """Turns the counts of this process into Prometheus' text format when it asks."""

    def __init__(self, survey: Survey) -> None:
        """`survey` is made anew for each scrape."""
        self.survey = survey
        self._parts: list[Part] = []
        self._process = ProcessCollector(registry=None)
        self._own = OwnCollectors()

    def show(self, *parts: Part) -> None:
        """Show these metrics of the program too."""
        self._parts += parts

    def add(self, module: str, metrics: OwnMetrics) -> None:
        """Show the metrics of a module too; raises ValueError if they cannot be shown."""
        found = collectors_of(module, metrics)
        if found:
            self._own.add(module, found, {family.name for family in self._program()})

    async def fresh_text(self) -> bytes:
        """Ask store and database how they are, for a second at most, and return all metrics."""
        await self.survey.make()
        return self.text()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics (prometheus_client calls this)."""
        taken = set()
        for family in self._program():
            taken.add(family.name)
            yield family
        yield from self._own.collect(taken)

    def _program(self) -> Iterator[Metric]:
        """Yield the metrics of the program and of its process."""
        for part in self._parts:
            with logged(log, "some metrics could not be read"):
                yield from list(part())
        yield from self._process.collect()

    async def stop(self) -> None:
        """End the survey under way."""
        await self.survey.stop()
