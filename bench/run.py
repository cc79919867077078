"""Run a row: all its contestants in each round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from bench.clients import LoadError
from bench.contestants import Servers
from bench.measures import Figures, Measure, Sizes
from bench.process import StartError
from bench.rows import Row, Target

Say = Callable[[str], None]


@dataclass
class Result:
    """The outcome of a row: every round's figures by contestant, and why some have none."""

    row: Row
    rounds: dict[str, list[Figures]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)  # could not be started
    failed: dict[str, str] = field(default_factory=dict)  # broke under load

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Record a contestant that does not start or breaks, and go on with the others."""
        try:
            yield
        except StartError as why:
            self.absent[name] = str(why)
            self.rounds.pop(name, None)
        except (LoadError, OSError) as why:
            self.failed[name] = str(why) or type(why).__name__
            self.rounds.pop(name, None)

    def median(self, name: str, figure: str = "") -> float:
        """Return the median over the rounds of that figure, or of the one that the row compares."""
        key = figure or self.row.figure
        return statistics.median(figures[key] for figures in self.rounds[name])

    def reached(self, target: Target) -> float | None:
        """Return the ratio or figure that the target bounds; None if a contestant is absent."""
        if target.who not in self.rounds or target.against not in (None, *self.rounds):
            return None
        against = 1.0 if target.against is None else self.median(target.against)
        return self.median(target.who) / against

    def missed(self) -> list[Target]:
        """Return the targets that were measured and not reached."""
        reached = ((target, self.reached(target)) for target in self.row.targets)
        return [target for target, value in reached if value is not None and value > target.at_most]


def run_row(
    row: Row, names: Sequence[str], servers: Servers, rounds: int, sizes: Sizes, say: Say
) -> Result:
    """Measure these contestants of a row; leave out one that breaks from then on."""
    result = Result(row)
    for together in [names] if row.together else [[name] for name in names]:
        with ExitStack() as stack:
            ready: dict[str, Measure] = {}
            for name in together:
                with result.attempt(name):
                    ready[name] = stack.enter_context(row.field(servers, name, sizes))
            for number in range(rounds):
                say(f"{row.key}: round {number + 1}, {', '.join(ready) or 'nobody'}")
                for name in rotated(list(ready), number):
                    with result.attempt(name):
                        figures = ready[name]()
                        result.rounds.setdefault(name, []).append(figures)
                    if name in result.absent or name in result.failed:
                        del ready[name]
    return result


def rotated(names: Sequence[str], by: int) -> list[str]:
    """Return the names in an order that begins with another one each round."""
    start = by % len(names) if names else 0
    return [*names[start:], *names[:start]]
