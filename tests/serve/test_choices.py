"""Choices of titles, ids and orders: against plain sets, while titles change and come."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nextreel.errors import ModelError
from nextreel.model.rank import Catalogue
from nextreel.serve import ranked
from nextreel.serve.arrivals import Arrivals
from nextreel.serve.choices import NO_MARKS, Choice, Choices, marks
from nextreel.serve.ids import Ids
from nextreel.serve.ranked import Ranked

GENRES = ["War", "Drama", "Comedy", None]
AGES = ["G", "PG", "R", None, "unknown"]
CHOICES = [
    Choice(),
    Choice("movie"),
    Choice("series", frozenset({"War"})),
    Choice(genres=frozenset({"War", "Drama"})),
    Choice(genres=frozenset({"Western"})),
    Choice(age_rating="PG"),
    Choice("movie", frozenset({"Comedy", "Western"}), "R"),
]


def drawn(rng: np.random.Generator) -> tuple[str | None, list[str] | None, str | None]:
    """Say something about a title: its type, genres and age rating; a type of None is not offered."""
    genres = sorted({str(g) for g in rng.choice(np.array(GENRES, object), 2) if g is not None}) or None
    kind = None if rng.random() < 0.2 else str(rng.choice(["movie", "series"]))
    return kind, genres, rng.choice(np.array(AGES, object))


def fits(choice: Choice, said: tuple[str | None, list[str] | None, str | None]) -> bool:
    kind, genres, age = said
    level = {"G": 0, "PG": 1, "PG-13": 2, "R": 3}
    return (
        kind is not None
        and choice.type in (None, kind)
        and (not choice.genres or bool(choice.genres & set(genres or ())))
        and (choice.age_rating is None or (age in level and level[str(age)] <= level[choice.age_rating]))
    )


@pytest.mark.parametrize("n_known", [0, 1, 64, 200])
def test_choices_are_those_of_plain_sets_while_titles_change(n_known: int) -> None:
    rng = np.random.default_rng(n_known)
    said: dict[int, Any] = {row: drawn(rng) for row in range(n_known)}
    table = pa.table(
        {
            "type": pa.array([said[r][0] for r in range(n_known)], pa.string()),
            "genres": pa.array([said[r][1] for r in range(n_known)], pa.list_(pa.string())),
            "age_rating": pa.array([said[r][2] for r in range(n_known)], pa.string()),
        }
    )
    # What is not offered has no other marks: it is not in the catalogue.
    catalogue = Catalogue.of(rng.standard_normal((n_known, 3)).astype(np.float32))
    choices = Choices(catalogue, table, Arrivals(n_known))
    has = {row: marks(*said[row]) if said[row][0] is not None else NO_MARKS for row in said}
    for row in (r for r in said if said[r][0] is None):  # the table's other columns are those of no card
        choices.change(row, marks(*said[row]), NO_MARKS)
    for _ in range(150):
        row = int(rng.integers(0, n_known + 80))
        kind, genres, age = drawn(rng)
        said[row] = (kind or "movie", genres, age)
        after = marks(*said[row])
        choices.change(row, has.get(row, NO_MARKS), after)
        has[row] = after
    rows = np.arange(n_known + 100)
    for choice in CHOICES:
        chosen = choices.chosen(choice)
        plain = [row for row in rows.tolist() if row in said and fits(choice, said[row])]
        assert chosen.rows().tolist() == plain
        assert np.flatnonzero(chosen.allows(rows)).tolist() == plain
    assert [row for row in rows.tolist() if choices.is_offered(row)] == choices.chosen(Choice()).rows().tolist()


@pytest.mark.parametrize("ahead", [5, 1_000])
def test_an_order_is_that_of_a_plain_sort_however_far_one_looks(ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranked, "_AHEAD", ahead)
    rng = np.random.default_rng(1)
    n = 300
    values, places = rng.integers(0, 40, n).astype(np.float64), rng.permutation(n)
    table = pa.table(
        {
            "type": pa.array([None if rng.random() < 0.1 else "movie" for _ in range(n)], pa.string()),
            "genres": pa.array([["War"] if rng.random() < 0.05 else None for _ in range(n)], pa.list_(pa.string())),
            "age_rating": pa.nulls(n, pa.string()),
        }
    )
    choices = Choices(Catalogue.of(rng.standard_normal((n, 3)).astype(np.float32)), table, Arrivals(n))
    before = Ranked(values + rng.random(n), places)
    order = Ranked(values, places, before)
    exclude = np.sort(rng.choice(n, 30, replace=False))
    for choice in (Choice(), Choice(genres=frozenset({"War"})), Choice("series")):
        chosen = choices.chosen(choice)
        allowed = [r for r in chosen.rows().tolist() if values[r] > 0 and r not in exclude]
        plain = sorted(allowed, key=lambda r: (-values[r], places[r]))
        for k in (0, 1, 7, 500):
            assert order.top(k, chosen, exclude).tolist() == plain[:k]


def test_ids_are_found_by_halving() -> None:
    names = sorted(["", "a", "á", "ab", "b", "z", "€", "😀", *(f"u{n}" for n in range(200))], key=str.encode)
    known = pa.array(["before", *names, "~"])[1:-1]  # a slice, whose buffers begin elsewhere
    ids = Ids(known)
    assert [ids.find(name) for name in names] == list(range(len(names)))
    assert [ids.name(row) for row in range(len(names))] == names
    assert [ids.find(name) for name in ("u", "u999", "\ud800", "zz")] == [None] * 4
    assert (ids.add("u"), ids.add("z"), ids.add("\ud800"), len(ids)) == (208, names.index("z"), 209, 210)
    assert (ids.find("u"), ids.name(208), ids.find("\ud800")) == (208, "u", 209)


def test_ids_that_do_not_ascend_are_refused() -> None:
    assert len(Ids(pa.array([], pa.string()))) == 0
    for wrong in (["b", "a"], ["a", "a"]):
        with pytest.raises(ModelError, match="ascend"):
            Ids(pa.array(wrong))
