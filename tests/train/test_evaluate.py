"""Metrics: worked out by hand on a tiny example, and against plain Python on a larger one."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from tests.model.models import make_model

from nextreel.model.model import Biases, Factors, Model
from nextreel.ratings.sources import SOURCES
from nextreel.settings import EvaluationSettings, Settings, TrainSettings
from nextreel.train.dataset import Dataset
from nextreel.train.evaluate import Evaluation, K, evaluate
from nextreel.train.splits import Split

SETTINGS = Settings(train=TrainSettings(damping=0.0), evaluation=EvaluationSettings(resamples=200))


def f32(rows: Any) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def rated(n_users: int, n_titles: int, rows: list[tuple[int, int, float]], simulated: bool = False) -> Dataset:
    return Dataset(
        pa.array([f"u{i:03d}" for i in range(n_users)]),
        pa.array([f"t{i:03d}" for i in range(n_titles)]),
        np.array([r[0] for r in rows], np.int32),
        np.array([r[1] for r in rows], np.int32),
        f32([r[2] for r in rows]),
        np.full(len(rows), SOURCES.index("simulated" if simulated else "observed"), np.int8),
        np.full(len(rows), np.datetime64("NaT", "us")),
    )


def scoring(scores: Any, data: Dataset, stars: float = 3.0) -> Model:
    """A model that ranks by ``scores`` (n_users, n_titles) and predicts the same stars for everything."""
    n_users, n_titles = data.n_users, data.n_titles
    nothing = Factors(np.zeros((n_users, 1), np.float32), np.zeros((n_titles, 1), np.float32))
    return make_model(
        data.user_ids,
        data.title_ids,
        Biases(stars, np.zeros(n_users, np.float32), np.zeros(n_titles, np.float32)),
        nothing,
        Factors(f32(scores), np.eye(n_titles, dtype=np.float32)),
        np.bincount(data.title, minlength=n_titles).astype(np.float32),
    )


def judged(model: Model, train: Dataset, test: Dataset, settings: Settings = SETTINGS, k: int = K) -> Evaluation:
    return evaluate(model, Split(train, test, {"split": "by hand"}, "these"), settings, k)


# By hand: three users, thirteen titles

N = 13
TRAIN = rated(3, N, [(0, 0, 5.0), (0, 1, 4.0), (1, 0, 3.0), (2, 0, 1.0), (2, 1, 2.0)])
TEST = rated(3, N, [(0, 2, 4.0), (0, 12, 5.0), (0, 3, 2.0), (1, 4, 4.5), (2, 5, 3.5)])
#: The first user is offered titles from 0 up, the second from 12 down, the third in any order.
SCORES = [[N - t for t in range(N)], list(range(N)), [1] * N]


def test_ranking_by_hand() -> None:
    found = judged(scoring(SCORES, TRAIN), TRAIN, TEST)
    # The third user has nothing rated 4 or more to find. The first one's list is 2, 3 … 11 (0 and 1 are seen): one of
    # two hits, in place 1. The second one's is 12, 11 … 3: the hit, 4, in place 9.
    best_of_two = 1 + 1 / math.log2(3)
    assert found.n_users_ranked == 2
    assert found.ranking["als"].ndcg == pytest.approx((1 / best_of_two + 1 / math.log2(10)) / 2)
    assert found.ranking["als"].recall == pytest.approx((1 / 2 + 1) / 2)
    assert found.ranking["als"].coverage == pytest.approx(11 / 13)  # 2 to 12
    assert found.ranking["als"].precision == pytest.approx(1 / 10)
    assert found.ranking["als"].map == pytest.approx((1 / 2 + 1 / 9) / 2)
    assert found.ranking["als"].mrr == pytest.approx((1 + 1 / 9) / 2)
    # Popularity: the first one's list is 2 … 11, the second one's 1, 2 … 10, with 4 in place 4.
    assert found.ranking["popularity"].ndcg == pytest.approx((1 / best_of_two + 1 / math.log2(5)) / 2)
    assert found.ranking["popularity"].recall == pytest.approx(0.75)
    assert found.ranking["popularity"].map == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert found.ranking["popularity"].coverage == pytest.approx(11 / 13)
    # Undamped, t0 and t1 have no bias, as all others: equal scores go by row, as popularity's happen to.
    assert found.ranking["bias"] == found.ranking["popularity"]


def test_titles_that_no_event_describes_are_neither_listed_nor_hits() -> None:
    described = np.ones(N, np.bool_)
    described[[2, 11, 12]] = False
    train, test = (replace(data, described=described) for data in (TRAIN, TEST))
    found = judged(scoring(SCORES, train), train, test)
    # The first user is left with nothing to find (2 and 12); the second one's list is 10, 9 … 1, with 4 in place 7.
    assert found.n_users_ranked == 1
    assert found.ranking["als"].ndcg == pytest.approx(1 / math.log2(8))
    assert found.ranking["als"].coverage == pytest.approx(9 / 10)  # 10 … 1 without 2
    assert found.ranking["popularity"].ndcg == pytest.approx(1 / math.log2(4))  # 1, 3, 4


def test_what_is_recommended_by_hand() -> None:
    found = judged(scoring(SCORES, TRAIN), TRAIN, TEST).ranking
    # Three users have rated; t0 was rated by three, t1 by two, which is in place 1 of the second one's popular list.
    assert (found["als"].novelty, found["als"].mean_popularity) == pytest.approx((math.log2(3), 0.0))
    assert found["popularity"].novelty == pytest.approx((19 * math.log2(3) + math.log2(3 / 2)) / 20)
    assert found["popularity"].mean_popularity == pytest.approx(2 / 20)


def test_segments_by_hand() -> None:
    found = judged(scoring(SCORES, TRAIN, stars=3.0), TRAIN, TEST).segments
    # The second user has rated one title in training, the others two; the third one has nothing to find.
    assert list(found) == ["light", "medium"]
    light, medium = found.values()
    assert (light.least, light.most, light.n_users, light.n_users_ranked) == (1, 1, 1, 1)
    assert (medium.least, medium.most, medium.n_users, medium.n_users_ranked) == (2, 2, 2, 1)
    assert light.ranking["als"].ndcg == pytest.approx(1 / math.log2(10))
    assert light.ranking["als"].coverage == pytest.approx(10 / 13)
    assert medium.ranking["als"].recall == pytest.approx(1 / 2)
    assert light.accuracy["als"].mae == pytest.approx(1.5)
    assert medium.accuracy["als"].rmse == pytest.approx(math.sqrt((1 + 4 + 1 + 0.25) / 4))
    assert light.intervals["ranking"]["als"]["ndcg"] == pytest.approx([1 / math.log2(10)] * 2)


def test_intervals_hold_what_they_are_of() -> None:
    found = judged(scoring(SCORES, TRAIN), TRAIN, TEST)
    for who, ranking in found.ranking.items():
        for metric, (low, high) in found.intervals["ranking"][who].items():
            assert low <= getattr(ranking, metric) + 1e-12
            assert getattr(ranking, metric) <= high + 1e-12
    # Users are off by (1, 2, -1), (1.5) and (0.5): drawn alone, the second is the worst, the third the best.
    assert found.intervals["accuracy"]["als"]["mae"] == pytest.approx((0.5, 1.5))
    assert found.intervals["accuracy"]["als"]["rmse"] == pytest.approx((0.5, 1.5))
    assert "coverage" not in found.intervals["ranking"]["als"]


def test_shorter_lists() -> None:
    found = judged(scoring(SCORES, TRAIN), TRAIN, TEST, k=1)
    assert (found.k, found.ranking["als"].ndcg, found.ranking["als"].precision) == (1, 0.5, 0.5)
    assert found.ranking["als"].recall == pytest.approx(1 / 4)
    assert found.ranking["als"].coverage == pytest.approx(2 / 13)


def test_no_more_users_are_ranked_than_asked_for() -> None:
    train = rated(40, N, [(u, 0, 3.0) for u in range(40)])
    test = rated(40, N, [(u, u % 12 + 1, 5.0) for u in range(40)])
    few = Settings(evaluation=EvaluationSettings(max_users=7, resamples=100))
    found, again = (judged(scoring(np.ones((40, N)), train), train, test, few) for _ in range(2))
    assert (found.n_users_ranked, found.n_test) == (7, 40)
    assert sum(segment.n_users for segment in found.segments.values()) == 40
    assert found == again


def test_accuracy_by_hand() -> None:
    found = judged(scoring(SCORES, TRAIN, stars=3.0), TRAIN, TEST)
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
    assert judged(scoring(np.zeros((3, 2)), train), train, test).accuracy["bias"].mae == 0.0


def test_what_is_relevant_is_a_setting() -> None:
    found = judged(scoring(SCORES, TRAIN), TRAIN, TEST, Settings(train=TrainSettings(relevant_rating=5.0)))
    assert found.n_users_ranked == 1
    assert found.ranking["als"].recall == 0.0
    assert found.ranking["als"].ndcg == 0.0


def test_a_perfect_list_is_one() -> None:
    scores = np.zeros((3, N))
    scores[0, [2, 12]], scores[1, 4] = 1, 1
    found = judged(scoring(scores, TRAIN), TRAIN, TEST).ranking["als"]
    assert (found.ndcg, found.recall, found.map, found.mrr) == (1.0, 1.0, 1.0, 1.0)


def test_more_relevant_titles_than_places() -> None:
    train = rated(1, 15, [])
    test = rated(1, 15, [(0, t, 5.0) for t in range(12)])
    found = judged(scoring([[15 - t for t in range(15)]], train), train, test).ranking["als"]
    assert found.ndcg == pytest.approx(1.0)
    assert found.recall == pytest.approx(10 / 12)


def test_simulated_ratings_in_training_are_not_seen() -> None:
    train = rated(1, 3, [(0, 0, 5.0)], simulated=True)
    test = rated(1, 3, [(0, 0, 5.0)])
    assert judged(scoring([[3, 2, 1]], train), train, test).ranking["als"].ndcg == 1.0


def test_who_is_not_known_is_judged_by_the_popular_list_that_they_get() -> None:
    train = rated(3, N, [(0, 9, 5.0), (1, 9, 5.0), (1, 8, 4.0)])
    test = rated(3, N, [(2, 9, 5.0)])
    found = judged(scoring([[1] * N, [1] * N, [0] * N], train), train, test)
    assert found.ranking["als"].ndcg == found.ranking["popularity"].ndcg == 1.0


def test_blocks_do_not_change_the_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = judged(scoring(SCORES, TRAIN), TRAIN, TEST)
    monkeypatch.setattr("nextreel.train.evaluate._BLOCK_USERS", 1)
    assert judged(scoring(SCORES, TRAIN), TRAIN, TEST) == whole


def test_random_lists_leave_out_what_is_seen() -> None:
    train = rated(1, 12, [(0, t, 3.0) for t in range(6)])
    test = rated(1, 12, [(0, 8, 5.0)])
    found = judged(scoring(np.zeros((1, 12)), train), train, test).ranking["random"]
    assert found.coverage == 0.5
    assert found.recall == 1.0


def test_nothing_held_out() -> None:
    found = judged(scoring(SCORES, TRAIN), TRAIN, rated(3, N, []))
    assert (found.n_train, found.n_test, found.n_users_ranked, found.simulated) == (5, 0, 0, False)
    assert all(math.isnan(a.rmse) and math.isnan(a.mae) for a in found.accuracy.values())
    assert all(math.isnan(r.ndcg) and math.isnan(r.recall) for r in found.ranking.values())
    assert {r.coverage for r in found.ranking.values()} == {0.0}
    assert found.segments == {}
    plain = found.as_dict()
    assert plain["ranking"]["als"]["ndcg"] is plain["accuracy"]["bias"]["rmse"] is None
    assert plain["intervals"]["ranking"]["als"]["ndcg"] == [None, None]
    json.dumps(plain, allow_nan=False)


def test_diversified_lists_are_judged_beside_the_models_own() -> None:
    given = SETTINGS.model_copy(update={"export": SETTINGS.export.model_copy(update={"diversity": 0.5})})
    plain, both = (judged(scoring(SCORES, TRAIN), TRAIN, TEST, how).ranking for how in (SETTINGS, given))
    assert "als, diverse" not in plain
    assert both["als"] == plain["als"]
    assert both["als, diverse"].diversity >= both["als"].diversity


def test_deeds_are_found_where_they_stand_for_more_than_neutral_and_are_no_ratings_to_predict() -> None:
    stars = [(0, 2, 3.5), (1, 3, 2.0), (2, 4, 3.0)]
    deeds = replace(rated(3, N, stars), source=np.full(3, SOURCES.index("implicit"), np.int8))
    found = judged(scoring(SCORES, TRAIN), TRAIN, deeds)
    assert found.n_users_ranked == 2
    assert np.isnan(found.accuracy["als"].rmse)
    assert judged(scoring(SCORES, TRAIN), TRAIN, rated(3, N, stars)).n_users_ranked == 0


def test_it_says_when_all_that_is_held_out_is_simulated() -> None:
    test = rated(3, N, [(0, 2, 4.0)], simulated=True)
    assert judged(scoring(SCORES, TRAIN), TRAIN, test).simulated
    assert not judged(scoring(SCORES, TRAIN), TRAIN, TEST).simulated


def test_as_plain_data() -> None:
    found = judged(scoring(SCORES, TRAIN), TRAIN, TEST)
    read = json.loads(json.dumps(found.as_dict()))
    assert {"accuracy", "ranking", "n_train", "n_test", "n_users_ranked", "simulated"} < read.keys()
    assert sorted(read["accuracy"]) == ["als", "bias", "mean"]
    assert sorted(read["ranking"]) == ["als", "bias", "popularity", "random"]
    assert {"ndcg", "recall", "coverage"} < read["ranking"]["als"].keys()
    assert read["intervals"]["accuracy"]["mean"].keys() == {"rmse", "mae"}
    assert [type(end) for end in read["intervals"]["ranking"]["als"]["ndcg"]] == [float, float]
    assert read["protocol"] == {"split": "by hand", "relevant_rating": 4.0, "k": 10}
    assert read["held_out"] == "these"
    assert read["segments"].keys() == {"light", "medium"}
    assert read["segments"]["medium"]["ranking"].keys() == read["ranking"].keys()


def test_calibration_is_what_ratings_were_where_about_the_same_was_predicted() -> None:
    model = scoring(SCORES, TRAIN)
    found = judged(model, TRAIN, TEST)
    by_hand: dict[float, list[float]] = {}
    for said, rating in zip(model.predict(TEST.user, TEST.title), TEST.rating, strict=True):
        by_hand.setdefault(round(float(said) * 2) / 2, []).append(float(rating))
    assert [(c.predicted, c.n_ratings) for c in found.calibration] == [
        (stars, len(by_hand[stars])) for stars in sorted(by_hand)
    ]
    assert [c.actual for c in found.calibration] == pytest.approx(
        [sum(by_hand[stars]) / len(by_hand[stars]) for stars in sorted(by_hand)]
    )


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
    found = judged(scoring(scores, train), train, test)
    als = found.ranking["als"]
    assert (als.ndcg, als.recall, als.coverage) == pytest.approx(in_plain_python(scores, train, test))
    assert (als.ndcg, als.recall, als.coverage) == pytest.approx((0.060398547772378616, 1 / 7, 49 / 60))
    # As pytrec_eval-terrier 0.5.11 has them, by names of documents that make ties fall as here: means of seven users,
    # for it leaves out those who have nothing relevant as well.
    assert found.n_users_ranked == 7
    assert als.precision == pytest.approx(0.028571428571428574)
    assert als.map == pytest.approx(0.022108843537414966)
    assert als.mrr == pytest.approx(0.04421768707482993)
