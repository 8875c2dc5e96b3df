import re

import numpy as np

from nextreel.events.world import title_words, words
from nextreel.events.world.names import people, titles, usernames
from nextreel.events.world.taste import GENRES

RNG_SEED = 5
N_COMBINATIONS = sum(len(c.given) * len(c.fronts) * len(c.backs) for c in words.CULTURES)


def test_no_two_people_share_a_name() -> None:
    names = people(np.random.default_rng(RNG_SEED), 30_000).to_pylist()
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"\w+ \w+", name) for name in names)


def test_initials_tell_more_people_apart_than_there_are_names() -> None:
    names = people(np.random.default_rng(RNG_SEED), 2 * N_COMBINATIONS).to_pylist()
    assert len(set(names)) == len(names)
    assert any(re.fullmatch(r"\w+ B\. \w+", name) for name in names)


def test_no_two_users_share_a_name() -> None:
    names = usernames(np.random.default_rng(RNG_SEED), 50_000).to_pylist()
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9._]{3,40}", name) for name in names)


def test_titles_are_filled_in_and_rarely_repeat() -> None:
    rng = np.random.default_rng(RNG_SEED)
    genre = rng.integers(0, len(GENRES), 10_000)
    names = titles(rng, genre, rng.random(10_000) < 0.3).to_pylist()
    assert not [name for name in names if re.search(r"[{}]|  |^ | $|\bA [AEIO]", name)]
    assert 0.97 < len(set(names)) / len(names) < 1.0


def test_titles_sound_like_their_genre() -> None:
    rng = np.random.default_rng(RNG_SEED)
    western = titles(rng, np.full(500, GENRES.index("Western")), np.zeros(500, np.bool_)).to_pylist()
    horror = titles(rng, np.full(500, GENRES.index("Horror")), np.zeros(500, np.bool_)).to_pylist()
    assert sum("Sheriff" in name or "Canyon" in name for name in western) > 20
    assert not any("Sheriff" in name or "Canyon" in name for name in horror)


def test_every_genre_has_words() -> None:
    assert tuple(title_words.NOUNS) == GENRES == tuple(title_words.GENRE_PATTERNS)


def test_cultures_do_not_share_given_names() -> None:
    given = [name for culture in words.CULTURES for name in culture.given]
    assert len(set(given)) == len(given)
