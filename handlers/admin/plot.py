"""Plots of the last hour, drawn by the server."""

from collections.abc import Sequence

import msgspec

from app.ops.site_counts import SLOT, Counts

WIDTH, HEIGHT = 600, 100  # of the drawing, in its own units


class Plot(msgspec.Struct, frozen=True):
    """One line over the last hour."""

    name: str
    label: str
    points: str  # of an SVG polyline
    maximum: str  # what the top of the plot stands for
    summary: str  # for those who do not see it


def plots(hour: Sequence[Counts], now: Counts) -> list[Plot]:
    """Return the plots of the slots of an hour, the oldest first."""
    connections = [float(each.connections) for each in hour]
    events = [each.events / SLOT for each in hour]
    sign_ins = [float(each.sign_ins) for each in hour]
    return [
        _plot("connections", "Connections", [*connections, float(now.connections)]),
        _plot("events", "Events per second", events),
        _plot("sign_ins", f"Sign-ins in {SLOT} seconds", sign_ins),
    ]


def _plot(name: str, label: str, values: Sequence[float]) -> Plot:
    top = max(1.0, *values)
    step = WIDTH / (len(values) - 1)
    points = " ".join(
        f"{index * step:.1f},{HEIGHT - HEIGHT * value / top:.1f}"
        for index, value in enumerate(values)
    )
    maximum = f"{top:.1f}".removesuffix(".0")
    latest = f"{values[-1]:.1f}".removesuffix(".0")
    summary = f"{label} in the last hour: now {latest}, scale up to {maximum}"
    return Plot(name, label, points, maximum, summary)
