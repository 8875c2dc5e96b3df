"""Two models judged by the same ratings."""

import json
import math

import numpy as np
import pytest
from tests.train.test_evaluate import SCORES, SETTINGS, TEST, TRAIN, N, rated, scoring

from nextreel.train.compare import Comparison, Gain, compare
from nextreel.train.dataset import Dataset
from nextreel.train.evaluate import evaluate
from nextreel.train.measure import Interval, errors
from nextreel.train.splits import Split

REVERSED = [row[::-1] for row in SCORES]


def compared(test: Dataset = TEST, train: Dataset = TRAIN) -> Comparison:
    now, tuned = scoring(SCORES, train, stars=3.0), scoring(REVERSED, train, stars=4.0)
    return compare(now, tuned, Split(train, test, {"split": "by hand"}, "these"), SETTINGS)


def test_both_are_judged_as_evaluation_judges() -> None:
    found = compared()
    for who, scores, stars in (("now", SCORES, 3.0), ("tuned", REVERSED, 4.0)):
        alone = evaluate(scoring(scores, TRAIN, stars), Split(TRAIN, TEST, {"split": "by hand"}, "these"), SETTINGS)
        assert found.quality.ranking[who] == alone.ranking["als"]
        assert found.quality.accuracy[who] == alone.accuracy["als"]
        assert found.quality.ranking["popularity"] == alone.ranking["popularity"]
        assert found.quality.intervals["ranking"][who] == alone.intervals["ranking"]["als"]
    assert found.ndcg.value == found.quality.ranking["tuned"].ndcg - found.quality.ranking["now"].ndcg
    assert found.rmse.value == found.quality.accuracy["tuned"].rmse - found.quality.accuracy["now"].rmse
    assert (found.n_train, found.n_test, found.n_users_ranked, found.held_out) == (5, 5, 2, "these")


def test_the_difference_is_taken_sample_by_sample() -> None:
    rng = np.random.default_rng(1)
    test = rated(300, N, [(u, t, float(rng.integers(1, 11) / 2)) for u in range(300) for t in range(u % 5 + 1)])
    base = (3 + rng.normal(0, 1, len(test))).astype(np.float32)
    measured = errors({"one": base + np.float32(0.1), "other": base}, test)
    low, high = measured.difference("one", "other", "rmse", 2000, 1)
    rmse = measured.values()
    assert low <= rmse["one"]["rmse"] - rmse["other"]["rmse"] <= high
    ends = measured.intervals(2000, 1)["other"]["rmse"]
    assert high - low < 0.3 * (ends.high - ends.low), "much surer than either"
    assert measured.difference("one", "one", "rmse", 100, 1) == (0.0, 0.0)
    assert measured.difference("other", "one", "rmse", 2000, 1) == pytest.approx((-high, -low))
    users = [np.flatnonzero(test.user == u) for u in range(300)]
    draws = [np.concatenate([users[u] for u in np.random.default_rng(i).integers(0, 300, 300)]) for i in range(400)]
    off = [base + np.float32(0.1) - test.rating, base - test.rating]
    differences = [math.sqrt((off[0][d] ** 2).mean()) - math.sqrt((off[1][d] ** 2).mean()) for d in draws]
    assert (low, high) == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])), abs=0.004)


@pytest.mark.parametrize(
    ("interval", "higher", "lower"),
    [
        ((0.1, 0.2), "better", "worse"),
        ((-0.2, -0.1), "worse", "better"),
        ((-0.1, 0.2), "no clear difference", "no clear difference"),
        ((0.0, 0.2), "no clear difference", "no clear difference"),
        ((math.nan, math.nan), "no clear difference", "no clear difference"),
    ],
)
def test_verdicts(interval: tuple[float, float], higher: str, lower: str) -> None:
    assert Gain(0.0, Interval(*interval), higher_is_better=True).verdict == higher
    assert Gain(0.0, Interval(*interval), higher_is_better=False).verdict == lower


#: Gains of an interval around them.
@pytest.mark.parametrize(
    ("ndcg", "rmse", "simulated", "better"),
    [
        (0.05, -0.05, False, True),
        (0.05, 0.0, False, True),
        (0.05, 0.005, False, True),
        (0.05, 0.05, False, False),
        (0.005, -0.05, False, True),
        (0.0, -0.05, False, True),
        (-0.005, -0.05, False, False),
        (-0.05, -0.05, False, False),
        (0.005, -0.005, False, False),
        (0.0, 0.0, False, False),
        (0.05, -0.05, True, False),
        (math.nan, -0.05, False, False),
    ],
)
def test_what_is_to_be_preferred(ndcg: float, rmse: float, simulated: bool, better: bool) -> None:
    gains = [Gain(v, Interval(v - 0.01, v + 0.01), up) for v, up in ((ndcg, True), (rmse, False))]
    assert Comparison(compared().quality, gains[0], gains[1], 1, 1, 1, simulated, "").better == better


def test_as_plain_data() -> None:
    found = json.loads(json.dumps(compared().as_dict(), allow_nan=False))
    assert set(found["ranking"]) == {"now", "tuned", "popularity", "bias", "random"}
    assert found["ndcg"].keys() == {"value", "interval", "verdict"}
    assert isinstance(found["better"], bool)
    nothing = json.loads(json.dumps(compared(test=rated(3, N, [])).as_dict(), allow_nan=False))
    assert (nothing["ndcg"]["value"], nothing["rmse"]["interval"], nothing["better"]) == (None, [None, None], False)
