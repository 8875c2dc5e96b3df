"""Moments in cells: ISO 8601, counts since 1970, formats of strptime with zones; naive ones in a stated zone."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

#: Units since 1970, by how many of them are a second.
EPOCHS = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}

#: Names of zones that mean one offset: those of RFC 5322 and Europe's. Others are ambiguous (IST, BST): [zones].
_OFFSETS = {
    "UTC": 0, "UT": 0, "GMT": 0, "Z": 0, "WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3,
    "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
}  # fmt: skip
_ZONE_WORD = re.compile(r"(?<![\w/])([A-Za-z]{1,5}|[A-Z][A-Za-z]+(?:/[A-Za-z_+\-0-9]+)+)(?![\w/])")
_LATE_OFFSET = re.compile(r"\s+([+-]\d\d:?\d\d|[+-]\d\d)$")
_LATE_UTC = re.compile(r"\s*(?:UTC|GMT|Z)$")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(?:[eE]\+?\d{1,2})?")
#: Digits before the point of counts since 1970 in each unit: of years from 1973 on.
_EPOCH_DIGITS = {"seconds": (9, 11), "milliseconds": (12, 14), "microseconds": (15, 17), "nanoseconds": (18, 19)}

#: Formats that are tried where neither ISO nor a count fits.
_DATES = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y", "%m/%d/%y", "%Y.%m.%d")
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", ", %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_OTHERS = (
    "%Y-%m-%d %H:%M:%S %Z", "%Y-%m-%d %H:%M:%S.%f %Z", "%Y-%m-%d %H:%M %Z", "%a %b %d %H:%M:%S %z %Y",
    "%a %b %d %H:%M:%S %Z %Y", "%a %b %d %H:%M:%S %Y", "%a, %d %b %Y %H:%M:%S %z", "%a, %d %b %Y %H:%M:%S %Z",
    "%d/%b/%Y:%H:%M:%S %z", "%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%m %d, %Y",
    "%b %d, %Y, %I:%M:%S %p", "%B %d, %Y %H:%M:%S",
)  # fmt: skip


def checked_form(text: str) -> str:
    """Return a form of moments; raises ValueError for one that is none."""
    if text == "iso" or text in EPOCHS:
        return text
    try:
        if "%" not in text:
            raise ValueError("it has no %")
        moment = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
        datetime.strptime(moment.strftime(text), text)
    except (ValueError, re.error) as error:
        raise ValueError(
            f"is neither iso, {', '.join(EPOCHS)}, and no format of moments: {error}; "
            "examples: %d/%m/%Y %H:%M, %Y-%m-%d %H:%M:%S %z"
        ) from None
    return text


def checked_zone(text: str) -> str:
    """Return a zone's name or offset; raises ValueError for one that is none."""
    zone_of(text)
    return text


def zone_of(text: str) -> tzinfo:
    """Return the zone that "UTC", "+02:00" or "Europe/Madrid" names; raises ValueError."""
    if text.upper() in ("UTC", "Z", "GMT"):
        return UTC
    if match := re.fullmatch(r"([+-])(\d\d):?(\d\d)?", text):
        minutes = int(match[2]) * 60 + int(match[3] or 0)
        if minutes < 24 * 60:
            return timezone(timedelta(minutes=minutes if match[1] == "+" else -minutes))
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{text!r} is no zone; examples: UTC, +02:00, Europe/Madrid") from None


class MomentReader:
    """Reads moments of one form. Those without a zone are in ``zone``; ``zones`` are offsets of zones by name."""

    def __init__(self, form: str, zone: str = "UTC", zones: Mapping[str, str] | None = None):
        self._form = form
        self._zone = zone_of(zone)
        self._zones = {name.upper(): zone_of(offset) for name, offset in (zones or {}).items()}
        self._plain_form = form.replace("%Z", "").strip() if "%Z" in form else ""

    def read(self, text: str) -> datetime:
        """Return a moment in UTC. Raises ValueError, OverflowError or OSError for a text that is none."""
        if unit := EPOCHS.get(self._form):
            if not _NUMBER.fullmatch(text):
                raise ValueError(f"{text!r} is no number of {self._form}")
            if re.fullmatch(r"[+-]?\d+", text):  # exact, where a float would round
                whole, rest = divmod(int(text), unit)
                return datetime.fromtimestamp(whole, UTC) + timedelta(microseconds=rest * 1_000_000 // unit)
            return datetime.fromtimestamp(float(text) / unit, UTC)
        if self._form == "iso":
            moment = self._iso(text)
        elif self._plain_form:
            moment = self._named(text)
        else:
            moment = datetime.strptime(text, self._form)
        return (moment if moment.tzinfo else moment.replace(tzinfo=self._zone)).astimezone(UTC)

    def _iso(self, text: str) -> datetime:
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            late = _LATE_OFFSET.search(text)
            plain = _LATE_OFFSET.sub(r"\1", text) if late else _LATE_UTC.sub("+00:00", text)
            return datetime.fromisoformat(plain)

    def _named(self, text: str) -> datetime:
        """Read a moment with a zone's name, which strptime does not know but for UTC and the machine's own."""
        problem = f"no zone's name in {text!r}"
        for match in _ZONE_WORD.finditer(text):
            zone = self._zone_named(match[1])
            rest = f"{text[: match.start()]}{text[match.end() :]}"
            try:
                moment = datetime.strptime(" ".join(rest.split()), " ".join(self._plain_form.split()))
            except ValueError:
                continue
            if zone is not None:
                return moment.replace(tzinfo=zone)
            problem = f'the zone {match[1]!r} is not known; say [zones] {match[1]} = "+05:30"'
        raise ValueError(problem)

    def _zone_named(self, name: str) -> tzinfo | None:
        if own := self._zones.get(name.upper()):
            return own
        if name.upper() in _OFFSETS:
            return timezone(timedelta(hours=_OFFSETS[name.upper()]))
        try:
            return ZoneInfo(name) if "/" in name else None
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return None


def forms_of(cells: Sequence[str]) -> list[str]:
    """Return the forms that fit a column's moments, but for one in twenty: several where days may be months."""
    if not cells:
        return ["iso"]
    digits = [_digits(cell) for cell in cells]
    for name, (fewest, most) in _EPOCH_DIGITS.items():
        n_fitting = sum(fewest <= n <= most for n in digits)
        if n_fitting and len(cells) - n_fitting - digits.count(0) <= len(cells) // 20:
            return [name]
    candidates = ["iso", *(date + time for date in _DATES for time in _TIMES), *_OTHERS]
    fitting = []
    for form in candidates:
        reader = MomentReader(form)
        if _reads_most(reader, cells):
            fitting.append(form)
            if form == "iso":
                break
    return fitting


def _digits(cell: str) -> int:
    """Return how many digits before its point the number of a cell has: 0 for zero, -1 for a text that is no number."""
    if not _NUMBER.fullmatch(cell):
        return -1
    number = abs(float(cell))
    return len(f"{number:.0f}") if number else 0


def _reads_most(reader: MomentReader, cells: Sequence[str]) -> bool:
    wrong_most, wrong = len(cells) // 20, 0
    for cell in cells:
        wrong += not _reads(reader, cell)
        if wrong > wrong_most:
            return False
    return True


def _reads(reader: MomentReader, text: str) -> bool:
    try:
        reader.read(text)
    except (ValueError, OverflowError, OSError):
        return False
    return True
