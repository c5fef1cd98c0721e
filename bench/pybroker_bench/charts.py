"""Line charts as SVG text, drawn here so that a page needs no script and no network. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 720
HEIGHT: Final = 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 16, 16, 44
COLOURS: Final = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2")


@dataclass(frozen=True, slots=True)
class Line:
    """A named series of points, by growing x."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axis:
    """`ticks`: where a label stands, and what it says; None: round numbers."""

    title: str
    ticks: Sequence[tuple[float, str]] | None = None
    is_logarithmic: bool = False


def chart(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> str:
    """An SVG figure; empty text when there is nothing to draw."""
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    xs = [point[0] for line in lines for point in line.points]
    ys = [point[1] for line in lines for point in line.points]
    low_x, high_x = min(xs), max(max(xs), min(xs) + 1e-9)
    y_ticks = _ticks_of(y, max(ys))
    low_y, high_y = (y_ticks[0][0], y_ticks[-1][0]) if y.is_logarithmic else (0.0, y_ticks[-1][0])

    def place_x(value: float) -> float:
        return _LEFT + (value - low_x) / (high_x - low_x) * (WIDTH - _LEFT - _RIGHT)

    def place_y(value: float) -> float:
        if y.is_logarithmic:
            span = math.log10(high_y) - math.log10(low_y)
            share = (math.log10(max(value, low_y)) - math.log10(low_y)) / span
        else:
            share = value / high_y
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="{escape(title)}">'
    ]
    for value, label in y_ticks:
        at = place_y(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{escape(label)}</text>')
    for value, label in x.ticks or _ticks(high_x, low_x):
        parts.append(
            f'<text x="{place_x(value):.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{escape(label)}</text>'
        )
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x.title)}</text>')
    parts.append(f'<text x="4" y="12">{escape(y.title)}</text>')
    for number, line in enumerate(lines):
        path = " ".join(f"{place_x(a):.1f},{place_y(b):.1f}" for a, b in line.points)
        parts.append(f'<polyline points="{path}" style="stroke:{COLOURS[number % len(COLOURS)]}"/>')
    parts.append("</svg>" + _legend(lines) + "</figure>")
    return "".join(parts)


def _legend(lines: Sequence[Line]) -> str:
    items = [
        f'<span><i style="background:{COLOURS[number % len(COLOURS)]}"></i>{escape(line.name)}</span>'
        for number, line in enumerate(lines)
    ]
    return f'<p class="legend">{"".join(items)}</p>'


def _ticks_of(axis: Axis, highest: float) -> list[tuple[float, str]]:
    if axis.ticks is not None:
        return list(axis.ticks)
    if axis.is_logarithmic:
        top = math.ceil(math.log10(max(highest, 0.1)))
        return [(10.0**power, short(10.0**power)) for power in range(-2, max(top, -1) + 1)]
    return _ticks(highest)


def _ticks(highest: float, lowest: float = 0.0) -> list[tuple[float, str]]:
    """About five round numbers, the last not below `highest` when it starts at zero."""
    span = max(highest - lowest, 1e-9)
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    first, last = math.ceil(lowest / step), math.floor(highest / step) if lowest else math.ceil(highest / step)
    return [(number * step, short(number * step)) for number in range(first, last + 1)]


def short(value: float) -> str:
    """A number of few characters: 1200000 is 1.2M."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:g}{suffix}"
    return f"{value:g}"
