"""Names of people, users and titles, composed from ``words`` a column at a time.

A fictional person *is* the name on the wire, so people never share one. Titles may, as they do in life, but
most namesakes get a subtitle.
"""

import re
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nextreel.events.draws import pick
from nextreel.events.world import title_words, words

_FOREIGN_SHARE, _GENRE_SHARE, _SERIES_SHARE = 0.03, 0.5, 0.2
_FOREIGN: Final = [f"{front} {back}" for fronts, backs in title_words.FOREIGN for front in fronts for back in backs]
_SLOT: Final = re.compile(r"\{(\w+)\}")


def people(rng: np.random.Generator, n: int) -> pa.StringArray:
    """Return n full names, no two alike."""
    culture = pick([c.share for c in words.CULTURES], rng.random(n))
    parts = []
    for number, (_, given, fronts, backs) in enumerate(words.CULTURES):
        rows = np.flatnonzero(culture == number)
        surnames = len(fronts) * len(backs)
        lap, combination = np.divmod(_scattered(rng, rows.size, len(given) * surnames), len(given) * surnames)
        first, last = np.divmod(combination, surnames)
        initials = ["", *(f"{letter}. " for letter in "ABCDEFGHJKLMNPRSTVW")]
        if lap.max(initial=0) >= len(initials):
            raise ValueError(f"{n} people are more than there are names for")
        names = [_take(given, first), " ", _take(initials, lap), *_surname(fronts, backs, last), ""]
        parts.append((rows, pc.binary_join_element_wise(*names)))
    return _in_place(parts)


def usernames(rng: np.random.Generator, n: int) -> pa.StringArray:
    """Return n user names in lower-case ASCII, no two alike."""
    given, surname = _given_and_surname(rng, n)
    number = pa.array(rng.integers(1, 100, n)).cast(pa.string())
    front, back = (_drawn(rng, w, n) for w in (words.HANDLE_FRONTS, words.HANDLE_BACKS))
    patterns = [
        (given, ".", surname), (given, "_", surname, number), (front, back, number), (front, "_", back),
        (back, given), (given, number), (given, "_", back), (surname, number),
    ]  # fmt: skip
    pattern = pick([0.2, 0.18, 0.2, 0.1, 0.08, 0.1, 0.08, 0.06], rng.random(n))
    parts = []
    for kind, pieces in enumerate(patterns):
        rows = np.flatnonzero(pattern == kind)
        chosen = [p if isinstance(p, str) else p.take(pa.array(rows)) for p in pieces]
        parts.append((rows, pc.binary_join_element_wise(*chosen, "")))
    names = _ascii(_in_place(parts))
    again = _seen_before(names)
    # The row's number ends no other name: the patterns end in less than 100, or in a word.
    numbered = pc.binary_join_element_wise(names, pa.array(np.arange(100, 100 + n)).cast(pa.string()), "_")
    return pc.if_else(pa.array(again), numbered, names)


def titles(rng: np.random.Generator, genre: NDArray[np.int64], is_series: NDArray[np.bool_]) -> pa.StringArray:
    """Return a title for each main genre (a position in ``title_words.NOUNS``) and kind; shapes (n,)."""
    slots = _Slots(rng, genre)
    composed = slots.composed(_patterns(rng, genre, is_series))
    again = _seen_before(composed) & (rng.random(genre.size) < 0.9)
    rows = np.flatnonzero(again)
    if rows.size == 0:
        return composed
    subtitle = _Slots(rng, genre[rows]).composed(_drawn_list(rng, title_words.SUBTITLES, rows.size))
    parted = pc.binary_join_element_wise(composed.take(pa.array(rows)), subtitle, ": ")
    return pc.replace_with_mask(composed, pa.array(again), parted)


class _Slots:
    """Words to fill the patterns of n titles with."""

    def __init__(self, rng: np.random.Generator, genre: NDArray[np.int64]) -> None:
        n = genre.size
        places = [f + b for f in words.PLACE_FRONTS for b in words.PLACE_BACKS] + words.CITIES * 4
        first = np.cumsum([0, *map(len, title_words.NOUNS.values())])
        nouns = [noun for of_genre in title_words.NOUNS.values() for noun in of_genre]
        length = np.diff(first)[genre]
        noun = np.floor(rng.random(n) * length).astype(np.int64)
        other = (noun + 1 + np.floor(rng.random(n) * (length - 1)).astype(np.int64)) % length
        plurals = [_plural(noun) for noun in nouns]
        self._columns: dict[str, pa.StringArray] = {
            "N": _take(nouns, first[genre] + noun),
            "M": _take(nouns, first[genre] + other),
            "Ns": _take(plurals, first[genre] + noun),
            "Ms": _take(plurals, first[genre] + other),
            "A": _drawn(rng, title_words.ADJECTIVES, n),
            "A2": _drawn(rng, title_words.ADJECTIVES, n),
            "P": _drawn(rng, places, n),
            "K": _drawn(rng, title_words.KEYS, n),
            "D": _drawn(rng, [str(number) for number in range(11, 69)], n),
        }
        self._columns["G"], self._columns["S"] = _given_and_surname(rng, n)
        self._columns["G2"], self._columns["S2"] = _given_and_surname(rng, n)

    def composed(self, patterns: NDArray[np.object_]) -> pa.StringArray:
        """Return the patterns, of shape (n,), filled in."""
        kinds, kind = np.unique(patterns.astype(str), return_inverse=True)
        parts = []
        for number, pattern in enumerate(kinds):
            rows = np.flatnonzero(kind == number)
            texts = _SLOT.split(str(pattern))
            pieces = [
                self._columns[text].take(pa.array(rows)) if odd % 2 else pa.repeat(text, rows.size)
                for odd, text in enumerate(texts)
            ]
            parts.append((rows, pc.binary_join_element_wise(*pieces, "")))
        return pc.replace_substring_regex(_in_place(parts), pattern=r"\bA ([AEIO])", replacement=r"An \1")


def _patterns(rng: np.random.Generator, genre: NDArray[np.int64], is_series: NDArray[np.bool_]) -> NDArray[np.object_]:
    chosen = _drawn_list(rng, title_words.PATTERNS, genre.size)
    draw = rng.random(genre.size)
    for number, name in enumerate(title_words.NOUNS):
        rows = np.flatnonzero((genre == number) & (draw < _GENRE_SHARE))
        chosen[rows] = _drawn_list(rng, title_words.GENRE_PATTERNS[name], rows.size)
    rows = np.flatnonzero(is_series & (draw > 1.0 - _SERIES_SHARE))
    chosen[rows] = _drawn_list(rng, title_words.SERIES_PATTERNS, rows.size)
    rows = np.flatnonzero(rng.random(genre.size) < _FOREIGN_SHARE)
    chosen[rows] = _drawn_list(rng, _FOREIGN, rows.size)
    return chosen


def _given_and_surname(rng: np.random.Generator, n: int) -> tuple[pa.StringArray, pa.StringArray]:
    """Return given names and surnames of shape (n,) that go together."""
    culture = pick([c.share for c in words.CULTURES], rng.random(n))
    givens, surnames = [], []
    for number, (_, given, fronts, backs) in enumerate(words.CULTURES):
        rows = np.flatnonzero(culture == number)
        givens.append((rows, _drawn(rng, given, rows.size)))
        last = rng.integers(0, len(fronts) * len(backs), rows.size)
        surnames.append((rows, pc.binary_join_element_wise(*_surname(fronts, backs, last), "")))
    return _in_place(givens), _in_place(surnames)


def _surname(fronts: list[str], backs: list[str], number: NDArray[np.int64]) -> tuple[pa.Array, pa.Array]:
    front, back = np.divmod(number, len(backs))
    return _take(fronts, front), _take(backs, back)


def _scattered(rng: np.random.Generator, n: int, size: int) -> NDArray[np.int64]:
    """Return n different numbers: the first ``size`` below it in any order, the next in its next lap."""
    lap, place = np.divmod(np.arange(n), size)
    return lap * size + rng.permutation(size)[place]


def _drawn(rng: np.random.Generator, choices: list[str], n: int) -> pa.StringArray:
    return _take(choices, rng.integers(0, len(choices), n))


def _drawn_list(rng: np.random.Generator, choices: list[str], n: int) -> NDArray[np.object_]:
    return np.array(choices, dtype=np.object_)[rng.integers(0, len(choices), n)]


def _take(choices: list[str], positions: NDArray[np.int64]) -> pa.StringArray:
    return pa.array(choices, pa.string()).take(pa.array(positions))


def _in_place(parts: list[tuple[NDArray[np.int64], pa.StringArray]]) -> pa.StringArray:
    """Return parts that were made separately, every string at its row."""
    rows = np.concatenate([rows for rows, _ in parts])
    return pa.concat_arrays([strings for _, strings in parts]).take(pa.array(np.argsort(rows)))


def _seen_before(names: pa.StringArray) -> NDArray[np.bool_]:
    """Return which names an earlier row has too."""
    codes = names.dictionary_encode().indices.to_numpy()
    again = np.ones(codes.size, np.bool_)
    again[np.unique(codes, return_index=True)[1]] = False
    return again


def _ascii(names: pa.StringArray) -> pa.StringArray:
    """Return names in lower-case ASCII: accents dropped, letters that have none spelt near enough."""
    names = pc.utf8_lower(names)
    for letter, plain in (("ø", "o"), ("æ", "ae"), ("ł", "l"), ("ß", "ss"), ("đ", "d")):
        names = pc.replace_substring(names, pattern=letter, replacement=plain)
    return pc.replace_substring_regex(pc.utf8_normalize(names, form="NFKD"), pattern=r"[^a-z0-9._]", replacement="")


def _plural(noun: str) -> str:
    if re.search(r"(s|x|ch|sh)$", noun):
        return noun + "es"
    return re.sub(r"([^aeiou])y$", r"\1ie", noun) + "s"
