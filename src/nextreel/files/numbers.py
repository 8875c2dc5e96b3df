"""Numbers in cells: decimal commas, percent signs, and scales of ratings other than 0.5 to 5."""

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from nextreel.errors import InputError
from nextreel.events.contract import RATING_MAX, RATING_MIN

#: A scale: its least and its most rating, or words and signs for a thumb up or down.
Scale = tuple[float, float] | Literal["thumbs"]

#: Ratings of thumbs: two thumbs up, one, and down.
_THUMBS = {
    **dict.fromkeys(("two thumbs up", "thumbs up 2", "love", "loved", "superlike"), 5.0),
    **dict.fromkeys(("up", "thumbs up", "thumb up", "thumbsup", "like", "liked", "true", "yes", "1", "👍", "+1"), 4.0),
    **dict.fromkeys(("down", "thumbs down", "thumb down", "thumbsdown", "dislike", "disliked"), 1.0),
    **dict.fromkeys(("false", "no", "0", "-1", "👎"), 1.0),
}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+\s*%?")
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+\s*%?")
_PLAIN = re.compile(r"[+-]?\d+\s*%?")

#: Fewer of a file's ratings beyond the contract's are mistakes; more of them are another scale.
_OUTLIERS_MOST = 0.05
#: Spellings of -1 that are kept: "-1", "-1.00", "-1,0".
_SPELLINGS_MOST = 100
#: Of fewer ratings that are all 1 at the most, nothing is concluded.
_RATINGS_LEAST = 10


def number_of(text: str, decimal: str | None) -> float:
    """Return a cell's number; NaN where it is none. A percent sign is passed over."""
    text = text.removesuffix("%").rstrip()
    if decimal == "," and "," in text:
        if "." in text:
            return math.nan
        text = text.replace(",", ".")
    if "_" in text:  # Python's own, in no file
        return math.nan
    try:
        return float(text)
    except ValueError:
        return math.nan


def decimal_of(cells: Iterable[str]) -> Literal[".", ","]:
    """Return the decimal mark of numbers: a comma where every one of them is whole or has one."""
    texts = [text for cell in cells if (text := cell.strip())]
    has_comma = any(_DECIMAL_COMMA.fullmatch(text) for text in texts)
    return "," if has_comma and all(_DECIMAL_COMMA.fullmatch(t) or _PLAIN.fullmatch(t) for t in texts) else "."


def rating_on(scale: Scale | None, text: str, decimal: str | None) -> float:
    """Return a cell's rating on the contract's scale, which it may lie beyond; NaN where it is no rating."""
    if scale == "thumbs":
        thumb = " ".join(re.sub(r"[_-](?!1$)", " ", text.casefold()).split()).removesuffix(".0")
        return _THUMBS.get(thumb, math.nan)
    number = number_of(text, decimal)
    return number if scale is None else onto(number, scale, RATING_MIN, RATING_MAX)


def onto(number: float, scale: tuple[float, float], low: float, high: float) -> float:
    """Return a number of one scale on another."""
    least, most = scale
    return low + (number - least) * (high - low) / (most - least)


def are_thumbs(cells: Iterable[str]) -> bool:
    """Tell whether all texts are words or signs for thumbs; numbers alone are not taken for them."""
    texts = {cell.strip().casefold() for cell in cells if cell.strip()}
    known = all(not math.isnan(rating_on("thumbs", text, None)) for text in texts)
    return bool(texts) and known and not all(_PLAIN.fullmatch(text) for text in texts)


@dataclass
class DecimalMarks:
    """Whether some number of a whole file has a comma, and whether some has a point, as its decimal mark."""

    has_comma: bool = False
    has_point: bool = False

    def add(self, text: str) -> None:
        """Add a cell."""
        if "," in text:
            self.has_comma = self.has_comma or _DECIMAL_COMMA.fullmatch(text) is not None
        elif "." in text:
            self.has_point = self.has_point or _DECIMAL_POINT.fullmatch(text) is not None

    @property
    def is_comma(self) -> bool:
        """Whether numbers have a decimal comma: none has a point."""
        return self.has_comma and not self.has_point


@dataclass
class Survey:
    """The ratings of a whole file, as they are written: what scale they are on is judged before any is sent."""

    rows: int = 0
    ratings: int = 0
    beyond: int = 0
    low: float = math.inf
    high: float = -math.inf
    counts: Counter[float] = field(default_factory=Counter)
    minus_ones: set[str] = field(default_factory=set)

    def add(self, number: float, text: str = "") -> None:
        """Add a rating; ``text`` is its cell."""
        if not math.isfinite(number):
            return
        self.ratings += 1
        self.beyond += number > RATING_MAX
        if number in (-1.0, 0.0, 1.0):
            self.counts[number] += 1
        if number == -1.0 and text and len(self.minus_ones) < _SPELLINGS_MOST:
            self.minus_ones.add(text)
        if number != -1.0:
            self.low, self.high = min(self.low, number), max(self.high, number)

    @property
    def has_minus_one(self) -> bool:
        """Whether -1 stands for no rating: every other one is positive, and not all are thumbs."""
        return self.counts[-1.0] > 0 and self.low >= 0 and self.high > 1

    def scale(self) -> tuple[float, float] | None:
        """Return the scale that ratings are evidently on; None for the contract's.

        Raises `InputError`, with the settings that would fit, where they are on another one, but which is not evident.
        """
        if self.ratings < 1:
            return None
        rated = self.ratings - (self.counts[-1.0] if self.has_minus_one else 0)
        if self.high <= 1 and self.ratings >= _RATINGS_LEAST:
            self._refuse('`scale = "thumbs"` for 1 and 0 or 1 and -1, `scale = [0, 1]` for shares')
        if rated < 1 or self.high <= RATING_MAX or self.beyond <= rated * _OUTLIERS_MOST:
            return None
        if self.low >= RATING_MIN and 9 <= self.high <= 10:
            return (min(1.0, self.low), 10.0)
        if self.low < RATING_MIN and self.high <= 10:
            self._refuse('`scale = [0, 10]`, or `scale = [1, 10]` with `[values.calificacion]` "0" = "" for no rating')
        if self.high <= 10:
            self._refuse(f"`scale = [1, 10]` or `scale = [1, {self.high:g}]`")
        if self.low >= 0 and self.high <= 100:
            self._refuse("`scale = [0, 100]` or `scale = [1, 100]`")
        self._refuse(f"for example `scale = [{self.low:g}, {self.high:g}]`")
        return None

    def _refuse(self, settings: str) -> None:
        raise InputError(
            f"ratings go from {min(self.low, -1.0 if self.counts[-1.0] else self.low):g} to "
            f"{max(self.high, -1.0):g}, the contract's from {RATING_MIN:g} to {RATING_MAX:g}. "
            f"Nothing was sent. Say their scale in the mapping: {settings}; [{RATING_MIN}, {RATING_MAX:g}] sends "
            "them as they are"
        )
