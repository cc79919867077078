"""An SVG of the medians: a group of bars per row, in the light or dark colours of the reader."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from bench.report import figure
from bench.run import Result

WIDTH, NAMES, BARS = 720, 150, 460  # units of the drawing
LINE, TITLE, GAP = 20, 30, 14

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.number { font-variant-numeric: tabular-nums }
.ours { fill: #0969da }
.theirs { fill: #8c959f }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .ours { fill: #58a6ff }
  .theirs { fill: #6e7681 }
}
"""


def svg(results: Sequence[Result]) -> str:
    """Return the drawing as text, without rows that count errors or have no figures."""
    drawn: list[str] = []
    top = 0.0
    for result in (result for result in results if result.rounds and result.row.unit):
        drawn.append(_text(0, top + 20, result.row.title.replace("`", ""), "title"))
        drawn.append(_text(WIDTH, top + 20, f"{_measured(result)}; less is better", anchor="end"))
        top += TITLE
        most = max(result.median(name) for name in result.rounds) or 1.0
        for name in (name for name in result.row.contestants if name in result.rounds):
            drawn += _bar(top, name, result.median(name), most)
            top += LINE
        top += GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top:.0f}" width="{WIDTH}" '
        f'height="{top:.0f}" role="img"><title>Latchkey beside others</title>'
        f"<style>{STYLE}</style>\n" + "\n".join(drawn) + "\n</svg>\n"
    )


def _measured(result: Result) -> str:
    return "µs of CPU each" if result.row.figure == "cpu_us" else result.row.unit


def _bar(top: float, name: str, value: float, most: float) -> list[str]:
    length = max(1.0, BARS * value / most)
    kind = "ours" if name.startswith("latchkey") else "theirs"
    return [
        _text(NAMES - 10, top + 14, name, anchor="end"),
        f'<rect class="{kind}" x="{NAMES}" y="{top + 3:.0f}" width="{length:.1f}" height="14"/>',
        _text(NAMES + length + 8, top + 14, figure(value), "number"),
    ]


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'
    )
