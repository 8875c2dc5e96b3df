"""Metrics: worked out by hand on a tiny example, and against plain Python on a larger one."""

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from nextreel.model.model import Biases, Factors, Model
from nextreel.settings import TrainSettings
from nextreel.train.dataset import Dataset
from nextreel.train.evaluate import K, evaluate

SETTINGS = TrainSettings(damping=0.0)


def f32(rows: Any) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def rated(n_users: int, n_titles: int, rows: list[tuple[int, int, float]], simulated: bool = False) -> Dataset:
    return Dataset(
        pa.array([f"u{i:03d}" for i in range(n_users)]),
        pa.array([f"t{i:03d}" for i in range(n_titles)]),
        np.array([r[0] for r in rows], np.int32),
        np.array([r[1] for r in rows], np.int32),
        f32([r[2] for r in rows]),
        np.full(len(rows), simulated),
    )


def scoring(scores: Any, data: Dataset, stars: float = 3.0) -> Model:
    """A model that ranks by ``scores`` (n_users, n_titles) and predicts the same stars for everything."""
    n_users, n_titles = data.n_users, data.n_titles
    nothing = Factors(np.zeros((n_users, 1), np.float32), np.zeros((n_titles, 1), np.float32))
    return Model(
        data.user_ids,
        data.title_ids,
        Biases(stars, np.zeros(n_users, np.float32), np.zeros(n_titles, np.float32)),
        nothing,
        Factors(f32(scores), np.eye(n_titles, dtype=np.float32)),
        np.bincount(data.title, minlength=n_titles).astype(np.float32),
    )


# By hand: three users, thirteen titles

N = 13
TRAIN = rated(3, N, [(0, 0, 5.0), (0, 1, 4.0), (1, 0, 3.0), (2, 0, 1.0), (2, 1, 2.0)])
TEST = rated(3, N, [(0, 2, 4.0), (0, 12, 5.0), (0, 3, 2.0), (1, 4, 4.5), (2, 5, 3.5)])
#: The first user is offered titles from 0 up, the second from 12 down, the third in any order.
SCORES = [[N - t for t in range(N)], list(range(N)), [1] * N]


def test_ranking_by_hand() -> None:
    found = evaluate(scoring(SCORES, TRAIN), TRAIN, TEST, SETTINGS)
    # The third user has nothing rated 4 or more to find. The first one's list is 2, 3 … 11 (0 and 1 are seen): one of
    # two hits, in place 1. The second one's is 12, 11 … 3: the hit, 4, in place 9.
    best_of_two = 1 + 1 / math.log2(3)
    assert found.n_users_ranked == 2
    assert found.ranking["als"].ndcg == pytest.approx((1 / best_of_two + 1 / math.log2(10)) / 2)
    assert found.ranking["als"].recall == pytest.approx((1 / 2 + 1) / 2)
    assert found.ranking["als"].coverage == pytest.approx(11 / 13)  # 2 to 12
    # Popularity: the first one's list is 2 … 11, the second one's 1, 2 … 10, with 4 in place 4.
    assert found.ranking["popularity"].ndcg == pytest.approx((1 / best_of_two + 1 / math.log2(5)) / 2)
    assert found.ranking["popularity"].recall == pytest.approx(0.75)
    assert found.ranking["popularity"].coverage == pytest.approx(11 / 13)


def test_accuracy_by_hand() -> None:
    found = evaluate(scoring(SCORES, TRAIN, stars=3.0), TRAIN, TEST, SETTINGS)
    # off by 1, 2, -1, 1.5, 0.5
    assert found.accuracy["als"].mae == pytest.approx((1 + 2 + 1 + 1.5 + 0.5) / 5)
    assert found.accuracy["als"].rmse == pytest.approx(math.sqrt((1 + 4 + 1 + 2.25 + 0.25) / 5))
    # The mean of training is 3 as well.
    assert found.accuracy["mean"] == found.accuracy["als"]
    # Undamped biases: t0 (2 + 0 - 2) / 3, t1 (1 - 1) / 2, so titles have none; users 1.5, 0, -1.5.
    off = [4.0 - 4.5, 5.0 - 4.5, 2.0 - 4.5, 4.5 - 3, 3.5 - 1.5]
    assert found.accuracy["bias"].mae == pytest.approx(sum(map(abs, off)) / 5)
    assert found.accuracy["bias"].rmse == pytest.approx(math.sqrt(sum(x * x for x in off) / 5))


def test_the_bias_baseline_stays_on_the_scale() -> None:
    train = rated(3, 2, [(0, 0, 5.0), (1, 0, 1.0), (2, 1, 5.0), (1, 1, 1.0)])
    test = rated(3, 2, [(0, 1, 5.0)])
    assert evaluate(scoring(np.zeros((3, 2)), train), train, test, SETTINGS).accuracy["bias"].mae == 0.0


def test_what_is_relevant_is_a_setting() -> None:
    found = evaluate(scoring(SCORES, TRAIN), TRAIN, TEST, TrainSettings(relevant_rating=5.0))
    assert found.n_users_ranked == 1
    assert found.ranking["als"].recall == 0.0
    assert found.ranking["als"].ndcg == 0.0


def test_a_perfect_list_is_one() -> None:
    scores = np.zeros((3, N))
    scores[0, [2, 12]], scores[1, 4] = 1, 1
    found = evaluate(scoring(scores, TRAIN), TRAIN, TEST, SETTINGS).ranking["als"]
    assert (found.ndcg, found.recall) == (1.0, 1.0)


def test_more_relevant_titles_than_places() -> None:
    train = rated(1, 15, [])
    test = rated(1, 15, [(0, t, 5.0) for t in range(12)])
    found = evaluate(scoring([[15 - t for t in range(15)]], train), train, test, SETTINGS).ranking["als"]
    assert found.ndcg == pytest.approx(1.0)
    assert found.recall == pytest.approx(10 / 12)


def test_simulated_ratings_in_training_are_not_seen() -> None:
    train = rated(1, 3, [(0, 0, 5.0)], simulated=True)
    test = rated(1, 3, [(0, 0, 5.0)])
    assert evaluate(scoring([[3, 2, 1]], train), train, test, SETTINGS).ranking["als"].ndcg == 1.0


def test_who_is_not_known_is_judged_by_the_popular_list_that_they_get() -> None:
    train = rated(3, N, [(0, 9, 5.0), (1, 9, 5.0), (1, 8, 4.0)])
    test = rated(3, N, [(2, 9, 5.0)])
    found = evaluate(scoring([[1] * N, [1] * N, [0] * N], train), train, test, SETTINGS)
    assert found.ranking["als"].ndcg == found.ranking["popularity"].ndcg == 1.0


def test_blocks_do_not_change_the_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate(scoring(SCORES, TRAIN), TRAIN, TEST, SETTINGS)
    monkeypatch.setattr("nextreel.model.rank._BLOCK_SCORES", 1)
    assert evaluate(scoring(SCORES, TRAIN), TRAIN, TEST, SETTINGS) == whole


def test_random_lists_leave_out_what_is_seen() -> None:
    train = rated(1, 12, [(0, t, 3.0) for t in range(6)])
    test = rated(1, 12, [(0, 8, 5.0)])
    found = evaluate(scoring(np.zeros((1, 12)), train), train, test, SETTINGS).ranking["random"]
    assert found.coverage == 0.5
    assert found.recall == 1.0


def test_nothing_held_out() -> None:
    found = evaluate(scoring(SCORES, TRAIN), TRAIN, rated(3, N, []), SETTINGS)
    assert (found.n_train, found.n_test, found.n_users_ranked, found.simulated) == (5, 0, 0, False)
    assert all(math.isnan(a.rmse) and math.isnan(a.mae) for a in found.accuracy.values())
    assert all(math.isnan(r.ndcg) and math.isnan(r.recall) for r in found.ranking.values())
    assert {r.coverage for r in found.ranking.values()} == {0.0}


def test_it_says_when_all_that_is_held_out_is_simulated() -> None:
    test = rated(3, N, [(0, 2, 4.0)], simulated=True)
    assert evaluate(scoring(SCORES, TRAIN), TRAIN, test, SETTINGS).simulated
    assert not evaluate(scoring(SCORES, TRAIN), TRAIN, TEST, SETTINGS).simulated


def test_as_plain_data() -> None:
    plain = evaluate(scoring(SCORES, TRAIN), TRAIN, TEST, SETTINGS).as_dict()
    read = json.loads(json.dumps(plain))
    assert sorted(read) == ["accuracy", "n_test", "n_train", "n_users_ranked", "ranking", "simulated"]
    assert sorted(read["accuracy"]) == ["als", "bias", "mean"]
    assert sorted(read["ranking"]) == ["als", "popularity", "random"]
    assert sorted(read["ranking"]["als"]) == ["coverage", "ndcg", "recall"]


# A larger example, against plain Python and as frozen values


def in_plain_python(scores: NDArray[np.float32], train: Dataset, test: Dataset) -> tuple[float, float, float]:
    """nDCG, recall and coverage, user by user."""
    seen, wanted = ({u: set[int]() for u in range(train.n_users)} for _ in range(2))
    for u, t in zip(train.user.tolist(), train.title.tolist(), strict=True):
        seen[u].add(t)
    for u, t, r in zip(test.user.tolist(), test.title.tolist(), test.rating.tolist(), strict=True):
        if r >= 4:
            wanted[u].add(t)
    ndcgs, recalls, shown = [], [], set()
    for u in sorted(wanted):
        if not wanted[u]:
            continue
        others = [t for t in range(train.n_titles) if t not in seen[u]]
        best = sorted(others, key=lambda t: (-float(scores[u, t]), t))[:K]
        gains = [1 / math.log2(place + 2) for place, t in enumerate(best) if t in wanted[u]]
        ideal = [1 / math.log2(place + 2) for place in range(min(K, len(wanted[u])))]
        ndcgs.append(sum(gains) / sum(ideal))
        recalls.append(len(gains) / len(wanted[u]))
        shown |= set(best)
    return sum(ndcgs) / len(ndcgs), sum(recalls) / len(recalls), len(shown) / train.n_titles


def test_equals_plain_python() -> None:
    n_users, n_titles = 17, 60
    cells = [(u, t) for u in range(n_users) for t in range(n_titles) if (7 * u + 11 * t + u * t) % 5 == 0]
    rows = [(u, t, ((3 * u + 5 * t) % 10 + 1) / 2) for u, t in cells]
    train = rated(n_users, n_titles, [r for i, r in enumerate(rows) if i % 3])
    test = rated(n_users, n_titles, [r for i, r in enumerate(rows) if not i % 3])
    scores = f32([[(u * 31 + t * 17) % 23 for t in range(n_titles)] for u in range(n_users)])
    found = evaluate(scoring(scores, train), train, test, SETTINGS).ranking["als"]
    expected = in_plain_python(scores, train, test)
    assert (found.ndcg, found.recall, found.coverage) == pytest.approx(expected)
    assert expected == pytest.approx((0.060398547772378616, 1 / 7, 49 / 60))
