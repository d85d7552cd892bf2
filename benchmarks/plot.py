"""Outcomes as an SVG picture: a panel of horizontal bars for each, light or dark as the reader's system is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from .peer import REPAIR_CHUNK
from .report import amount
from .targets import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .harness import Outcome, Series

COLUMNS: Final = 2
COLUMN_WIDTH: Final = 560  # pixels, as all below
MARGIN: Final = 20
NAME_WIDTH: Final = 165
VALUE_WIDTH: Final = 150
TITLE_HEIGHT: Final = 30
BAR_HEIGHT: Final = 14
ROW_HEIGHT: Final = 19
PANEL_GAP: Final = 14
HEADER_HEIGHT: Final = 64

# Colours with a contrast of at least 4.5 for text and 3 for bars against their background, in both schemes.
STYLE: Final = """
  .paper { fill: #ffffff } .text { fill: #1f2328 } .quiet { fill: #59636e }
  .ours { fill: #0969da } .floor { fill: #818b98 } .other { fill: #bc4c00 }
  .spread { stroke: #1f2328; stroke-width: 1.5 }
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif } .title { font-weight: 600; font-size: 13px }
  .head { font-weight: 600; font-size: 16px }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } .text { fill: #f0f6fc } .quiet { fill: #9198a1 }
    .ours { fill: #4493f8 } .floor { fill: #656c76 } .other { fill: #db6d28 }
    .spread { stroke: #f0f6fc }
  }
"""


def picture(outcomes: Iterable[Outcome], heading: str) -> str:
    """Draw all *outcomes* under *heading*. Bars begin at zero and are comparable within a panel only."""
    parts: list[str] = []
    bottoms = [HEADER_HEIGHT] * COLUMNS
    for outcome in outcomes:
        if outcome.series:
            column = bottoms.index(min(bottoms))
            parts += _panel(outcome, MARGIN + column * COLUMN_WIDTH, bottoms[column])
            bottoms[column] += TITLE_HEIGHT + ROW_HEIGHT * len(outcome.series) + PANEL_GAP
    width, height = COLUMN_WIDTH * COLUMNS + MARGIN, max(bottoms) + MARGIN
    title = escape(heading)
    head = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(heading, {chr(34): "&quot;"})}">'
        ),
        f"<title>{title}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        f'<text class="text head" x="{MARGIN}" y="30">{title}</text>',
        (
            f'<text class="quiet" x="{MARGIN}" y="48">median of interleaved rounds; the line spans the middle half; '
            "shorter is better</text>"
        ),
    ]
    return "\n".join([*head, *parts, "</svg>", ""])


def _panel(outcome: Outcome, left: int, top: int) -> list[str]:
    longest = max(max(series.median, series.quartiles[1]) for series in outcome.series) or 1.0
    scale = (COLUMN_WIDTH - MARGIN - NAME_WIDTH - VALUE_WIDTH) / longest
    title = escape(f"{outcome.title} [{outcome.unit}]")
    parts = [f'<text class="text title" x="{left}" y="{top + 18}">{title}</text>']
    for row, series in enumerate(outcome.series):
        parts += _bar(outcome, series, left + NAME_WIDTH, top + TITLE_HEIGHT + row * ROW_HEIGHT, scale)
    return parts


def _bar(outcome: Outcome, series: Series, left: int, top: int, scale: float) -> list[str]:
    lower, upper = series.quartiles
    middle = top + BAR_HEIGHT / 2
    end = left + max(series.median, upper) * scale
    label = amount(series.median)
    ratio = outcome.ratio(series.name, OURS)
    if ratio is not None and series.name != OURS:
        label += f" ({ratio:.2f} × ours)"
    return [
        f'<text class="text" x="{left - 8}" y="{middle + 4:g}" text-anchor="end">{escape(series.name)}</text>',
        (
            f'<rect class="{_kind(series.name)}" x="{left}" y="{top}" '
            f'width="{max(series.median * scale, 1):.1f}" height="{BAR_HEIGHT}" rx="2"/>'
        ),
        (
            f'<line class="spread" x1="{left + lower * scale:.1f}" x2="{left + upper * scale:.1f}" '
            f'y1="{middle:g}" y2="{middle:g}"/>'
        ),
        f'<text class="quiet" x="{end + 8:.1f}" y="{middle + 4:g}">{label}</text>',
    ]


def _kind(name: str) -> str:
    if name.startswith(OURS):
        return "ours"
    return "floor" if "floor" in name or name == REPAIR_CHUNK else "other"
