import numpy as np
import pytest

from nextreel.events.world.taste import GENRES, N_DIMENSIONS, TASTE_SD, Taste, genre_vectors


def taste(n_users: int, n_titles: int) -> Taste:
    rng = np.random.default_rng(4)
    users, titles = (
        rng.normal(2.0, 3.0, (n_users, N_DIMENSIONS)),
        rng.normal(-1.0, 0.1, (n_titles, N_DIMENSIONS)),
    )
    return Taste.of(rng, users, titles)


def test_alike_genres_lie_together() -> None:
    vectors = dict(zip(GENRES, genre_vectors(), strict=True))
    assert vectors["Crime"] @ vectors["Thriller"] > 0.5 > 0.0 > vectors["Crime"] @ vectors["Family"]


def test_taste_has_the_stated_strength_over_all_pairs() -> None:
    model = taste(900, 400)
    user, title = np.arange(900)[:, np.newaxis], np.arange(400)
    appeal = model.appeal(user, title)
    assert appeal.shape == (900, 400)
    assert appeal.std() == pytest.approx(TASTE_SD, rel=0.02)
    assert abs(appeal.mean(axis=1)).max() < 0.01  # taste says nothing about titles on average


def test_a_rating_is_leniency_and_quality_and_appeal() -> None:
    model = taste(30, 20)
    user, title = np.array([7, 7, 8]), np.array([3, 4, 3])
    stars = model.stars(user, title)
    difference = model.quality[4] - model.quality[3] + model.users[7] @ (model.titles[4] - model.titles[3])
    assert stars[1] - stars[0] == pytest.approx(difference, abs=1e-5)
    lenient = model.leniency[8] - model.leniency[7] + (model.users[8] - model.users[7]) @ model.titles[3]
    assert stars[2] - stars[0] == pytest.approx(lenient, abs=1e-5)


def test_true_rating_stays_inside_the_scale() -> None:
    model = taste(300, 200)
    user, title = np.divmod(np.arange(300 * 200), 200)
    rating = model.true_rating(user, title)
    assert rating.dtype == np.float64
    assert (rating.min(), rating.max()) == (0.5, 5.0)
    inside = (rating > 0.5) & (rating < 5.0)
    assert rating[inside] == pytest.approx(model.stars(user, title)[inside])


def test_one_user_and_one_title() -> None:
    model = Taste.of(np.random.default_rng(0), np.ones((1, N_DIMENSIONS)), np.ones((1, N_DIMENSIONS)))
    assert 0.5 <= model.true_rating(np.array([0]), np.array([0]))[0] <= 5.0
