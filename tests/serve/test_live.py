"""The live state: it follows from a model version and the set of events since, and from nothing else."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serve.living import N_TITLES, deed, live, names, new_title, new_user, ratings, titles, users

from nextreel.model.foldin import FoldIn
from nextreel.model.solve import Rows
from nextreel.serve.choices import Choice
from nextreel.serve.live import Asked, Event, Live
from nextreel.serve.people import Past, Person, Profile
from nextreel.settings import RatingsSettings, ServeSettings
from nextreel.train.dataset import Dataset, Profiles


@pytest.fixture(scope="module")
def make() -> Callable[[], Live]:
    """Fresh states of one model."""
    first = live()

    def fresh() -> Live:
        return Live(first.version, first.model, first.snapshot, RatingsSettings(), ServeSettings())

    return fresh


@pytest.fixture
def state(make: Callable[[], Live]) -> Live:
    return make()


def person(state: Live, name: str) -> Person:
    row = state.people.ids.find(name)
    assert row is not None
    return state.people.person(row)


def listed(state: Live, name: str, **asked: Any) -> list[str]:
    row = state.people.ids.find(name)
    assert row is not None
    found = state.recommend(state.people.person(row), state.people.seen(row), Asked(**asked))
    return names(state, found.titles)


# As trained


def test_without_events_users_are_as_trained(state: Live) -> None:
    for row in range(len(state.people)):
        found = state.people.person(row)
        np.testing.assert_array_equal(found.ranking, state.model.ranking_factors.users[row])
    assert person(state, "u00").strategy == "preferences"
    assert person(state, "u10").strategy == "personal"


def test_an_event_that_training_has_seen_changes_nothing(state: Live) -> None:
    """The server reads from where the lake was when training began, so that some come again."""
    before = {row: state.people.person(row).ranking for row in range(len(state.people))}
    data = ratings()
    again = [
        deed(-1, data.user_ids[u].as_py(), data.title_ids[t].as_py(), "rate" if said else "list", float(stars))
        for u, t, stars, said in zip(data.user, data.title, data.rating, data.observed, strict=True)
        if said
    ]
    state.apply([replace(e, values=_at(e, data, n)) for n, e in zip(np.flatnonzero(data.observed), again, strict=True)])
    for row, ranking in before.items():
        np.testing.assert_allclose(state.people.person(row).ranking, ranking, rtol=1e-4, atol=1e-5)


def _at(event: Event, data: Dataset, row: np.integer[Any]) -> tuple[Any, ...]:
    """The values of an event, at the time of a rating."""
    values = list(event.values)
    values[2] = data.timestamp[row].astype("datetime64[us]").tolist().replace(tzinfo=UTC)
    return tuple(values)


def test_who_rates_more_is_as_the_next_training_would_solve_for_them(state: Live) -> None:
    """Given the same titles: the other side stays as it is until a training."""
    state.apply([deed(1, "u10", "t01", stars=5.0), deed(2, "u10", "t02", "complete"), deed(3, "u10", "t03", stars=1.0)])
    row = state.people.ids.find("u10")
    assert row is not None
    past = state.people.past(row)
    own = dict(zip(names(state, past.titles), past.ratings.tolist(), strict=True))
    assert (own["t01"], own["t02"], own["t03"]) == (5.0, 3.5, 1.0)
    # The same cells through the training's own last step, over all users at once.
    model = state.model
    everyone = [state.people.past(r) for r in range(len(state.people))]
    users_ = np.repeat(np.arange(len(everyone)), [len(p.titles) for p in everyone])
    columns, values = (np.concatenate([getattr(p, n) for p in everyone]) for n in ("titles", "ratings"))
    given_ = np.concatenate([p.given for p in everyone])
    liking = Rows.of(users_, columns, values, len(everyone))
    stars = Rows.of(users_[given_], columns[given_], values[given_], len(everyone))
    solved = FoldIn.of(model.titles, model.biases.mean, model.feedback).solve(liking, stars)
    expected = model.newcomers.users.expect(Profiles.of(ratings(), users(), titles()).users)
    whole = model.newcomers.users.weigh(solved, liking.counts, stars.counts, expected)
    np.testing.assert_allclose(person(state, "u10").ranking, whole.ranking[row], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(person(state, "u10").estimate.rating[0], whole.rating[row], rtol=1e-4, atol=1e-5)


# What an event changes


def test_what_is_watched_is_not_recommended_again(state: Live) -> None:
    first = listed(state, "u10")[0]
    state.apply([deed(1, "u10", first, "play")])
    assert first not in listed(state, "u10", count=N_TITLES)
    assert first in listed(state, "u10", count=N_TITLES, include_seen=True)


def test_liking_a_genre_moves_lists_towards_it(state: Live) -> None:
    def wars(found: list[str]) -> int:
        return sum(int(name[1:]) % 3 == 1 for name in found)

    before = wars(listed(state, "u03", count=6))
    unseen = [name for name in listed(state, "u03", count=N_TITLES) if int(name[1:]) % 3 == 1]
    state.apply([deed(n, "u03", title, stars=5.0) for n, title in enumerate(unseen[4:])])
    state.apply([deed(n, "u03", f"t{n:02d}", stars=0.5) for n in range(0, N_TITLES, 3)])
    assert wars(listed(state, "u03", count=4)) > before * 4 / 6 or wars(listed(state, "u03", count=4)) == 4


def test_a_newcomer_is_recommended_to_by_what_they_declare(state: Live) -> None:
    state.apply([new_user(1, "newcomer", "War")])
    assert person(state, "newcomer").strategy == "preferences"
    found = listed(state, "newcomer", count=5)
    assert sum(int(name[1:]) % 3 == 1 for name in found) >= 4
    state.apply([new_user(2, "newcomer", "Comedy")])
    assert sum(int(name[1:]) % 3 == 2 for name in listed(state, "newcomer", count=5)) >= 4
    state.apply([new_user(1.5, "newcomer", "Drama")])  # late
    assert sum(int(name[1:]) % 3 == 2 for name in listed(state, "newcomer", count=5)) >= 4


def test_a_newcomer_who_declares_nothing_gets_what_is_popular(state: Live) -> None:
    state.apply([new_user(1, "newcomer")])
    assert person(state, "newcomer").strategy == "popular"
    popular = names(state, state.listed("popular", Asked()).titles)
    assert listed(state, "newcomer") == popular
    assert len(popular) == 10


def test_a_new_title_is_recommended_to_those_it_fits(state: Live) -> None:
    state.apply([new_title(1, "new war", "War", clasificacion="PG")])
    place = {name: listed(state, name, count=N_TITLES + 1).index("new war") for name in ("u01", "u00")}
    assert place["u01"] < place["u00"], "the first likes war, the second drama"
    assert state.titles.card(len(state.titles) - 1).title == "New War"


def test_the_first_ratings_of_a_new_title_move_it(state: Live) -> None:
    state.apply([new_title(1, "new", "War")])
    row = state.titles.ids.find("new")
    assert row is not None
    before = state.titles.of(np.array([row])).ranking[0]
    fans = [f"u{n:02d}" for n in range(6, 60, 3)]  # of drama
    state.apply([deed(2 + n, name, "new", stars=5.0) for n, name in enumerate(fans)])
    after = state.titles.of(np.array([row])).ranking[0]
    drama = person(state, "u00").ranking
    assert drama @ after > drama @ before


def test_what_is_watched_before_it_is_known_is_not_recommended(state: Live) -> None:
    state.apply([deed(1, "u10", "unheard of", stars=5.0)])
    row = state.titles.ids.find("unheard of")
    assert row is not None
    assert not state.titles.is_offered(row)
    assert "unheard of" not in listed(state, "u11", count=N_TITLES + 5)
    state.apply([new_title(2, "unheard of", "Drama")])
    assert "unheard of" in listed(state, "u11", count=N_TITLES + 5)


def test_what_nothing_describes_is_not_estimated(state: Live) -> None:
    """Whoever can produce interactions can name any number of users and titles."""
    state.take([deed(n, f"nobody {n}", f"nothing {n}", stars=5.0) for n in range(2_000)])
    state.take([deed(n, "everything", f"nothing {n}", stars=1.0) for n in range(2_000)])
    while state.settle():
        pass
    assert len(state.titles.arrivals) == 0
    assert person(state, "nobody 7").strategy == "popular"
    assert len(state.titles) == N_TITLES + 2_000


def test_a_new_title_does_not_wait_for_others_to_be_estimated_again(state: Live) -> None:
    others = [f"other {n}" for n in range(600)]
    state.apply([new_title(1, name, "Drama") for name in others])
    state.take([deed(2, f"u{n % 60:02d}", name, stars=5.0) for n, name in enumerate(others)])
    state.take([deed(3, "stranger", name, stars=5.0) for name in others])
    state.take([new_title(4, "premiere", "War")])
    assert state.settle(), "others are left"
    assert "premiere" in listed(state, "u01", count=700)


def test_titles_described_before_and_after_they_are_watched_are_the_same(make: Callable[[], Live]) -> None:
    events = [deed(1, "ana", "x", stars=5.0), deed(2, "ana", "t03", stars=4.0), new_title(3, "x", "War")]
    one, other = make(), make()
    one.apply(events)
    for each in reversed(events):
        other.apply([each])
    for state in (one, other):
        state.rank()
    row = one.titles.ids.find("x")
    assert row is not None
    assert one.titles.of(np.array([row])).ranking.any()
    np.testing.assert_array_equal(person(one, "ana").ranking, person(other, "ana").ranking)
    assert listed(one, "u10", count=50) == listed(other, "u10", count=50)


def test_a_title_that_changes_its_genre_is_found_by_the_new_one(state: Live) -> None:
    state.apply([new_title(1, "t00", "War", kind="series")])
    wars = listed(state, "u00", count=N_TITLES, choice=Choice(genres=frozenset({"War"})), include_seen=True)
    assert "t00" in wars
    dramas = listed(state, "u00", count=N_TITLES, choice=Choice(genres=frozenset({"Drama"})), include_seen=True)
    assert "t00" not in dramas
    state.apply([new_title(-60, "t00", "Drama", kind="series")])  # older than what the model knows
    assert "t00" in listed(state, "u00", count=N_TITLES, choice=Choice(genres=frozenset({"War"})), include_seen=True)


# Bounds


@pytest.fixture
def bounded(make: Callable[[], Live]) -> Live:
    return bounded_live(make())


def bounded_live(first: Live, most: int = 3) -> Live:
    bound = ServeSettings(interactions_per_user=most)
    return Live(first.version, first.model, first.snapshot, RatingsSettings(), bound)


def test_the_newest_interactions_of_a_user_count(bounded: Live, state: Live) -> None:
    titles = listed(state, "u10", count=N_TITLES)[:6]
    events = [deed(n, "u10", name, stars=5.0) for n, name in enumerate(titles)]
    bounded.apply(events)
    state.apply(events[3:])
    np.testing.assert_array_equal(person(bounded, "u10").ranking, person(state, "u10").ranking)


def test_titles_beyond_the_bound_are_not_recommended_again(bounded: Live) -> None:
    watched = listed(bounded, "u10", count=8)
    bounded.apply([new_title(0, "x", "War"), *(deed(n, "u10", name, "play") for n, name in enumerate(["x", *watched]))])
    assert not {"x", *watched} & set(listed(bounded, "u10", count=50))
    assert not {"x", *watched} & set(listed(bounded, "u10", count=50, choice=Choice(genres=frozenset({"War"}))))


def test_up_to_the_bound_nothing_is_different(make: Callable[[], Live]) -> None:
    bound, free = bounded_live(make(), most=12), make()
    events = [deed(n, "u10", f"t{n:02d}", "list" if n % 2 else "rate", 4.0) for n in range(12)]
    for state in (bound, free):
        state.apply(events)
    np.testing.assert_array_equal(person(bound, "u10").ranking, person(free, "u10").ranking)


def test_what_falls_out_of_the_bound_does_not_trend_and_counts_once(bounded: Live, make: Callable[[], Live]) -> None:
    """Else it would count twice if the user came back to it, in one order of events and not in another."""
    others = [deed(9 + n, "ana", f"t{n:02d}", "play") for n in range(3)]
    never = bounded_live(make())
    never.apply(others)
    bounded.apply([deed(1, "ana", "t39", "play"), *others])
    for state in (bounded, never):
        state.rank()
    trending = [state.listed("trending", Asked(count=N_TITLES)).titles.tolist() for state in (bounded, never)]
    assert trending[0] == trending[1]
    popularity = bounded.popular.popularity(np.array([39]))[0]
    assert popularity == never.popular.popularity(np.array([39]))[0] + 1
    bounded.apply([deed(1, "ana", "t39", "play"), deed(20, "ana", "t39", "play")])
    assert bounded.popular.popularity(np.array([39]))[0] == popularity


# Choices


@pytest.mark.parametrize(
    "choice",
    [
        Choice(),
        Choice(type="series"),
        Choice(genres=frozenset({"War"})),
        Choice(genres=frozenset({"War", "Comedy"}), type="movie"),
        Choice(age_rating="PG"),
        Choice(age_rating="R", genres=frozenset({"Drama"})),
        Choice(genres=frozenset({"Opera"})),
    ],
)
def test_lists_are_those_of_a_plain_scan(state: Live, choice: Choice) -> None:
    state.apply([new_title(1, "b", "War", clasificacion="PG"), new_title(1, "a", "War", clasificacion="PG")])
    level = {"PG": 1, "R": 3}
    for name in ("u10", "u00", "u30"):
        own = person(state, name)
        row = state.people.ids.find(name)
        assert row is not None
        seen = set(state.people.past(row).titles.tolist())
        rows = []
        for title in range(len(state.titles)):
            card = state.titles.card(title)
            fits = choice.type in (None, card.type)
            fits &= not choice.genres or bool(choice.genres & set(card.genres or ()))
            fits &= choice.age_rating is None or (
                card.age_rating in level and level[card.age_rating] <= level[choice.age_rating]
            )
            if fits and title not in seen:
                rows.append(title)
        scores = (state.titles.of(np.array(rows, np.int64)).ranking * own.ranking).sum(axis=1)  # as BLAS may not: alike
        plain = sorted(range(len(rows)), key=lambda n: (-scores[n], state.titles.ids.name(rows[n])))
        assert listed(state, name, count=8, choice=choice) == names(state, [rows[n] for n in plain[:8]])
        assert listed(state, name, count=3, offset=4, choice=choice) == names(state, [rows[n] for n in plain[4:7]])


def test_excluded_titles_are_left_out(state: Live) -> None:
    first, second, third = listed(state, "u10", count=3)
    row = state.titles.ids.find(first)
    assert row is not None
    assert listed(state, "u10", count=2, exclude=frozenset({row})) == [second, third]


def test_predicted_ratings_are_in_the_scale(state: Live) -> None:
    found = state.recommend(person(state, "u10"), np.zeros(0, np.int64), Asked(count=N_TITLES))
    assert ((found.ratings >= 0.5) & (found.ratings <= 5)).all()
    rows = np.full(len(found.titles), state.people.ids.find("u10"))
    np.testing.assert_allclose(found.ratings, state.model.predict(rows, found.titles), rtol=1e-5)


def test_similar_titles_are_of_the_same_kind(state: Live) -> None:
    rows, cosines = state.similar(4, Asked(count=6))
    assert sum(int(name[1:]) % 3 == 1 for name in names(state, rows)) >= 5
    assert (np.diff(cosines) <= 0).all()
    assert 4 not in rows


def test_a_stranger_is_recommended_to_by_the_titles_that_they_name(state: Live) -> None:
    wars = Past.said(dict.fromkeys(range(1, 16, 3), 5.0))
    found = state.recommend(state.people.stranger(Profile("me"), wars), wars.seen(), Asked(count=5))
    assert found.strategy == "personal"
    assert sum(row % 3 == 1 for row in found.titles.tolist()) >= 3


def test_several_people_together_get_something_for_each(state: Live) -> None:
    both = state.group([person(state, "u00"), person(state, "u01")])
    found = state.recommend(both, np.zeros(0, np.int64), Asked(count=12))
    kinds = [row % 3 for row in found.titles.tolist()]
    assert kinds.count(0) >= 3
    assert kinds.count(1) >= 3


def test_diverse_lists_have_more_of_each_kind(state: Live) -> None:
    own = person(state, "u00")
    plain, diverse = (
        state.recommend(own, np.zeros(0, np.int64), Asked(count=6, diversity=d)).titles % 3 for d in (0.0, 0.8)
    )
    assert len(set(diverse.tolist())) >= len(set(plain.tolist()))
    assert len(diverse) == 6


# Popular and trending


def test_what_people_do_now_trends(state: Live) -> None:
    state.apply([deed(1, f"u{n:02d}", "t07", "play") for n in range(2, 40)])
    state.rank()
    assert names(state, state.listed("trending", Asked(count=1)).titles) == ["t07"]
    assert names(state, state.listed("popular", Asked(count=1)).titles) == ["t07"]


# Order, and repetition

EVENTS = [
    new_user(1, "ana", "War"),
    new_user(4, "ana", "Comedy"),
    new_title(2, "x1", "War", clasificacion="PG"),
    new_title(3, "x2", "War"),
    new_title(9, "x2", "Drama"),
    deed(1, "ana", "x1", stars=4.0),
    deed(5, "ana", "x1", stars=1.5),
    deed(6, "ana", "x1", "complete"),
    deed(2, "ana", "t05", "list"),
    deed(7, "ana", "t05", "skip"),
    deed(3, "u10", "x1", stars=5.0),
    deed(8, "u10", "x2", "complete"),
    deed(8, "bob", "x2", stars=2.0),
    deed(9, "bob", "x3", stars=3.0),
    deed(9, "u11", "t01", stars=0.5),
    deed(2, "u11", "t01", stars=5.0),
    deed(-100_000, "u12", "t04", "play"),
    # All alike: what orders them must not be the last bit of a sum.
    *(new_title(3, f"same{n}", "Comedy", clasificacion="R") for n in range(6)),
]


def answers(state: Live) -> dict[str, Any]:
    """All that can be asked."""
    state.rank()
    found: dict[str, Any] = {}
    for name in ("ana", "bob", "u10", "u11", "u12", "u00"):
        row = state.people.ids.find(name)
        assert row is not None
        asked = state.recommend(state.people.person(row), state.people.seen(row), Asked(count=50))
        found[name] = (names(state, asked.titles), asked.scores.tolist(), asked.ratings.tolist(), asked.strategy)
        past = state.people.past(row)
        found[name] += (names(state, past.titles), past.ratings.tolist(), past.times.tolist())
    for which in ("popular", "trending", "new"):
        found[which] = names(state, state.listed(which, Asked(count=50)).titles)
    found["cards"] = {name: state.titles.card(state.titles.ids.find(name) or 0) for name in ("x1", "x2", "x3")}
    return found


@pytest.fixture(scope="module")
def expected(make: Callable[[], Live]) -> dict[str, Any]:
    whole = make()
    whole.apply(EVENTS)
    return answers(whole)


@settings(max_examples=30, deadline=None)
@given(
    order=st.permutations(range(len(EVENTS))),
    again=st.lists(st.integers(0, len(EVENTS) - 1), max_size=8),
    data=st.data(),
)
def test_any_order_and_any_repetition_end_in_the_same_answers(
    make: Callable[[], Live], expected: dict[str, Any], order: list[int], again: list[int], data: st.DataObject
) -> None:
    events = [EVENTS[n] for n in (*order, *again)]
    one = make()
    while events:
        n = data.draw(st.integers(1, len(events)))
        one.apply(events[:n])
        events = events[n:]
    assert answers(one) == expected


#: More than a bound of three: what falls out comes again, late, and as what was said after what was done.
MANY = [
    *(deed(n, "ana", f"t{n:02d}", "play") for n in range(6)),
    deed(9, "ana", "t00", stars=4.0),
    deed(3, "ana", "t04", stars=1.0),
    *(deed(20 + n, "u10", title, stars=4.0) for n, title in enumerate(("x1", "x2", "t30", "x3", "t31"))),
    deed(22, "u10", "t39", "complete"),
    *(deed(10, "bob", f"y{n}", "play") for n in range(4)),  # all at the same moment
    new_title(12, "y1", "War"),
    new_title(13, "y2", "Drama"),
    new_title(14, "x3", "Comedy"),
]


@settings(max_examples=30, deadline=None)
@given(
    order=st.permutations(range(len(EVENTS + MANY))),
    again=st.lists(st.integers(0, len(EVENTS + MANY) - 1), max_size=8),
    data=st.data(),
)
def test_any_order_ends_in_the_same_answers_beyond_the_bound(
    make: Callable[[], Live], order: list[int], again: list[int], data: st.DataObject
) -> None:
    events = EVENTS + MANY
    whole = bounded_live(make())
    whole.apply(events)
    expected = answers(whole)
    one, left = bounded_live(make()), [events[n] for n in (*order, *again)]
    while left:
        n = data.draw(st.integers(1, len(left)))
        one.apply(left[:n])
        left = left[n:]
    assert answers(one) == expected
