"""Line charts as SVG: both axes logarithmic, panels side by side, nothing installed."""

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 300, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 34, 46
_COLOURS = ("#6366f1", "#ef4444", "#059669")
_GREY = "#4b5563"
_GRID = "#e5e7eb"


@dataclass(frozen=True)
class Line:
    """Points (x, y), all above 0, and what they are of."""

    name: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """Lines, and what the axes are."""

    x: str
    y: str
    lines: list[Line]


def draw(title: str, rows: list[list[Panel]]) -> str:
    """Return the panels, row by row, as one picture."""
    width, height = _WIDTH * max(map(len, rows)), _HEIGHT * len(rows) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" '
        f'font-size="11" role="img" aria-labelledby="t">',
        f'<title id="t">{escape(title)}</title>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for down, row in enumerate(rows):
        for across, panel in enumerate(row):
            parts.append(f'<g transform="translate({_WIDTH * across} {_HEIGHT * down})">{_panel(panel)}</g>')
    names = [line.name for line in rows[0][0].lines]
    for i, name in enumerate(names):
        parts.append(_text(_LEFT + 110 * i + 18, height - 6, name, "start"))
        parts.append(f'<rect x="{_LEFT + 110 * i}" y="{height - 14}" width="12" height="8" fill="{_COLOURS[i]}"/>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(panel: Panel) -> str:
    x_low, x_high = _range([x for line in panel.lines for x, _ in line.points])
    y_low, y_high = _range([y for line in panel.lines for _, y in line.points])

    def across(x: float) -> float:
        return _LEFT + (math.log10(x) - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)

    def down(y: float) -> float:
        return _TOP + (y_high - math.log10(y)) / (y_high - y_low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_text(_LEFT, _TOP - 12, panel.y, "start"), _text(_WIDTH - _RIGHT, _HEIGHT - 14, panel.x, "end")]
    for x in _ticks(x_low, x_high):
        parts.append(_stroke(f"M{across(x):.1f} {_TOP}V{_HEIGHT - _BOTTOM}", _GRID))
        parts.append(_text(across(x), _HEIGHT - _BOTTOM + 14, _number(x), "middle"))
    for y in _ticks(y_low, y_high):
        parts.append(_stroke(f"M{_LEFT} {down(y):.1f}H{_WIDTH - _RIGHT}", _GRID))
        parts.append(_text(_LEFT - 6, down(y) + 4, _number(y), "end"))
    for colour, line in zip(_COLOURS, panel.lines, strict=False):
        places = [(across(x), down(y)) for x, y in line.points]
        parts.append(_stroke("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places), colour, 2))
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
    return "".join(parts)


def _range(values: list[float]) -> tuple[float, float]:
    """Return the powers of ten that an axis goes from and to, with some room."""
    return math.log10(min(values)) - 0.1, math.log10(max(values)) + 0.1


def _ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 of each decade of an axis, or 1 alone where these would be many."""
    steps = (1, 2, 5) if high - low < 2 else (1,)
    ticks = [step * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for step in steps]
    return [tick for tick in ticks if low <= math.log10(tick) <= high]


def _number(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {letter}"
    return f"{value:g}"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{_GREY}">{escape(text)}</text>'


def _stroke(path: str, colour: str, width: int = 1) -> str:
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
