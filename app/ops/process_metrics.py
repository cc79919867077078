"""The metrics of the process itself: version, event loop, jobs, mails."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import Metric

from app import __version__
from app.ops.loop_lag import LoopLag
from app.ops.metric_families import counter, gauge, histogram, number, total
from app.ops.stall_log import StallLog
from app.ops.survey import Survey


class Jobs(Protocol):
    """The periodic jobs."""

    @property
    def runs(self) -> Mapping[tuple[str, str], int]: ...
    @property
    def succeeded_at(self) -> Mapping[str, float]: ...


class Mail(Protocol):
    """The mails to users."""

    @property
    def waiting(self) -> int: ...


class ProcessMetrics:
    """Metrics of the process; each method is a part of `Metrics`."""

    def __init__(self, loop_lag: LoopLag, stalls: StallLog, survey: Survey, jobs: Jobs) -> None:
        self._loop_lag = loop_lag
        self._stalls = stalls
        self._survey = survey
        self._jobs = jobs

    def of_loop(self) -> Iterator[Metric]:
        """Yield the version, and how late the event loop was."""
        versions = (__version__, platform.python_version())
        yield gauge("info", "Versions of this process.", {versions: 1}, "version", "python")
        yield histogram(
            "loop_lag_seconds", "How late the event loop was.", {(): self._loop_lag.seconds}
        )
        yield total("loop_stalls", "Stalls of the event loop that were logged.", self._stalls.count)

    def of_jobs(self) -> Iterator[Metric]:
        """Yield the runs of periodic jobs that this process has made."""
        yield counter("job_runs", "Runs of periodic jobs.", self._jobs.runs, "name", "result")
        yield gauge(
            "job_last_success_timestamp_seconds",
            "When a periodic job has last succeeded in this process.",
            self._jobs.succeeded_at,
            "name",
        )

    def of_readiness(self, stopping: Callable[[], bool]) -> Iterator[Metric]:
        """Yield whether the process serves; `stopping` tells whether it drains or stops."""
        passed = self._survey.passed
        if passed:
            ready = all(passed.values()) and not stopping()
            yield number("ready", "Whether /readyz answers 200.", ready)


def of_backups(last: Callable[[], float]) -> Iterator[Metric]:
    """Yield when the latest backup was complete; a part of `Metrics` if the argument is bound."""
    yield number(
        "backup_last_success_timestamp_seconds",
        "When the latest backup of this data folder was complete; 0 if there was none.",
        last(),
    )


def of_mails(mail: Mail, counts: Mapping[str, int]) -> Iterator[Metric]:
    """Yield the mails to users; a part of `Metrics` if the other arguments are bound."""
    yield counter("mails", "Mails to users by result.", counts, "result")
    yield number("mails_waiting", "Mails that wait for the mail server.", mail.waiting)
