"""What is kept of one user's interactions: the newest, whatever order they come in."""

from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.serve.interactions import Interaction, Interactions

MOST = 4

interactions = st.tuples(
    st.integers(0, 7),  # title
    st.booleans(),
    st.builds(Interaction, st.integers(0, 9), st.integers(0, 2), st.sampled_from("ab"), st.sampled_from([1.0, 4.0])),
)


def name(title: int) -> str:
    """Ids descend, so that they order titles otherwise than rows do."""
    return f"t{9 - title}"


def kept(of: list[tuple[int, bool, Interaction]]) -> dict[tuple[int, bool], Interaction]:
    """Of each title and kind the newest, and of these the newest four."""
    newest: dict[tuple[int, bool], Interaction] = {}
    for title, is_rating, what in of:
        newest[title, is_rating] = max(what, newest.get((title, is_rating), what))
    order = sorted(newest, key=lambda key: (*newest[key][:3], name(key[0]), key[1]), reverse=True)
    return {key: newest[key] for key in order[:MOST]}


@settings(max_examples=300)
@given(st.lists(interactions, max_size=30))
def test_the_newest_are_kept_in_whatever_order_they_come(of: list[tuple[int, bool, Interaction]]) -> None:
    own = Interactions()
    times: dict[int, int | None] = {}
    for title, is_rating, what in of:
        for change in own.add(title, is_rating, what, MOST, name):
            assert times.get(change.title) == change.before
            times[change.title] = change.after
    expected = kept(of)
    assert sorted(own.titles()) == sorted({title for title, _ in expected})
    for title in range(8):
        both = [expected[title, said] for said in (False, True) if (title, said) in expected]
        assert own.holds(title) == bool(both)
        assert own.time(title) == times.get(title) == (max(both).time if both else None)
        if both:
            assert own.counts(title) == (both[-1].stars, (title, True) in expected, both[-1].time)


@settings(max_examples=100)
@given(st.lists(interactions, max_size=30))
def test_titles_that_fall_out_stay_seen(of: list[tuple[int, bool, Interaction]]) -> None:
    own = Interactions()
    for title, is_rating, what in of:
        own.add(title, is_rating, what, MOST, name)
    titles = {title for title, *_ in of}
    assert set(own.seen().tolist()) == titles
    assert {title for title in range(8) if title in own} == titles


def test_what_one_user_repeats_for_ever_takes_no_more_memory() -> None:
    own = Interactions()
    for n in range(MOST + 1):
        own.add(n, True, Interaction(n, 0, "a", 1.0), MOST, name)
    for n in range(20_000):
        own.add(MOST, True, Interaction(100 + n, 0, "a", 1.0), MOST, name)
    assert own._aged is not None
    assert len(own._aged) < 2_000
    assert sorted(own.titles()) == [1, 2, 3, 4]
