"""How good a model is: on ratings it has not seen, over the whole catalogue, beside its baselines."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any

import numpy as np

from nextreel.events.contract import RATING_MAX, RATING_MIN
from nextreel.model.arrays import Floats, Ints, Mask
from nextreel.model.model import Biases, Model
from nextreel.model.rank import Pairs
from nextreel.model.recommend import Recommender
from nextreel.settings import Settings
from nextreel.train.baselines import baseline_lists
from nextreel.train.biases import fit_biases
from nextreel.train.dataset import Dataset
from nextreel.train.measure import Interval, Measured, errors, ranks
from nextreel.train.metrics import coverage
from nextreel.train.segments import activity_segments
from nextreel.train.splits import Split

#: The length of the lists that are judged.
K = 10

#: Users whose recommendations, and all that goes with them, are made at a time.
_BLOCK_USERS = 1000


@dataclass(frozen=True)
class Accuracy:
    """Errors of predicted ratings, in stars, over the held-out ratings: √(Σ (r̂ - r)² / n) and Σ |r̂ - r| / n."""

    rmse: float
    mae: float


@dataclass(frozen=True)
class Ranking:
    """How lists of k titles do, means over users who have something to find: `nextreel.train.metrics`.

    What is to be found are held-out titles rated ``relevant_rating`` or more. Titles rated in training are left out of
    the lists; all others that a movie or series event describes compete. ``coverage`` is the share of those in
    anybody's list; ``novelty`` the mean self-information of what is listed, in bits; ``mean_popularity`` its mean
    number of training ratings; ``diversity`` how unlike a list's titles are
    (`nextreel.model.diversify.intra_list_diversity`).
    """

    ndcg: float
    recall: float
    precision: float
    map: float
    mrr: float
    coverage: float
    novelty: float
    mean_popularity: float
    diversity: float


@dataclass(frozen=True)
class Quality:
    """Metrics by who recommends; intervals by "accuracy" or "ranking", who recommends, and metric.

    Coverage has no interval: it grows with the number of users, so that resampling them says nothing of it.
    """

    accuracy: dict[str, Accuracy]
    ranking: dict[str, Ranking]
    intervals: dict[str, dict[str, dict[str, Interval]]]


@dataclass(frozen=True)
class Segment(Quality):
    """The quality for ``n_users`` who rated ``least`` to ``most`` titles in training; lists of ``n_users_ranked``."""

    least: int
    most: int
    n_users: int
    n_users_ranked: int


@dataclass(frozen=True)
class Calibration:
    """Held-out ratings of which about the same was predicted, to the nearest half star: how many, and their mean."""

    predicted: float
    actual: float
    n_ratings: int


@dataclass(frozen=True)
class Evaluation(Quality):
    """A model's quality and its baselines', for all users and by segment, on lists of ``k`` titles.

    ``held_out`` says what it was judged by; ``protocol`` is what two evaluations must share to be comparable.
    """

    segments: dict[str, Segment]
    calibration: list[Calibration]
    n_train: int
    n_test: int
    n_users_ranked: int
    simulated: bool
    k: int
    held_out: str
    protocol: dict[str, object]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, for model.json; what could not be measured is None."""
        found: dict[str, Any] = plain(asdict(self))
        return found


def evaluate(model: Model, split: Split, settings: Settings, k: int = K) -> Evaluation:
    """Judge ``model``, which was trained on the split's one part, by the other, on lists of ``k`` titles.

    Baselines: for ratings, the mean and damped biases; for lists, popularity, the titles' biases, and chance. Beside
    the model's own lists diversified ones are judged where ``export.diversity`` is above 0. Where more than
    ``evaluation.max_users`` have something to find, so many of them are drawn. Memory does not grow with users times
    titles: lists are made for some users at a time.
    """
    train, test = split.train, split.test
    found = judge({"als": model}, split, settings, k)
    n_rated = np.diff(_seen(split).start)
    raters = np.bincount(test.user, minlength=test.n_users) > 0
    segments = activity_segments(n_rated, raters)
    return Evaluation(
        **vars(found.quality(raters)),
        segments={name: found.segment(users, n_rated) for name, users in segments.items()},
        calibration=found.calibration,
        n_train=len(train),
        n_test=len(test),
        n_users_ranked=len(found.ranks.users),
        simulated=split.simulated,
        k=k,
        held_out=split.held_out,
        protocol=split.protocol | {"relevant_rating": settings.train.relevant_rating, "k": k},
    )


@dataclass(frozen=True)
class Judged:
    """What was measured user by user, the first model's calibration, and the lists (n, k) of users who have some."""

    errors: Measured
    calibration: list[Calibration]
    ranks: Measured
    lists: dict[str, Ints]
    n_titles: int
    settings: Settings

    def quality(self, users: Mask) -> Quality:
        """Return the metrics over the users that a mask (n_users,) keeps."""
        errors, ranks = self.errors.of(users), self.ranks.of(users)
        covered = {who: coverage(lists[users[self.ranks.users]], self.n_titles) for who, lists in self.lists.items()}
        draws = (self.settings.evaluation.resamples, self.settings.train.seed)
        return Quality(
            accuracy={who: Accuracy(**values) for who, values in errors.values().items()},
            ranking={who: Ranking(coverage=covered[who], **values) for who, values in ranks.values().items()},
            intervals={"accuracy": errors.intervals(*draws), "ranking": ranks.intervals(*draws)},
        )

    def segment(self, users: Mask, n_rated: Ints) -> Segment:
        """Return the same as a segment; ``n_rated`` (n_users,) is what each has rated in training."""
        return Segment(
            **vars(self.quality(users)),
            least=int(n_rated[users].min()),
            most=int(n_rated[users].max()),
            n_users=int(users.sum()),
            n_users_ranked=int(users[self.ranks.users].sum()),
        )


def judge(models: Mapping[str, Model], split: Split, settings: Settings, k: int = K) -> Judged:
    """Measure models, which were trained on the split's one part, and their baselines by the other, all on the same.

    How unlike titles are is told by the first model.
    """
    train, test, seen = split.train, split.test, _seen(split)
    biases, stars = fit_biases(train.stars(), settings.train.damping), test.where(~test.implicit)
    relevant = test.where(relevant_ratings(test, settings))
    users = _drawn(np.unique(relevant.user).astype(np.int64), settings)
    n_ratings = np.bincount(seen.titles, minlength=train.n_titles)
    offered = train.offered
    lists = {name: _recommended(model, users, seen, k, offered) for name, model in models.items()}
    if settings.export.diversity > 0:
        diversity = settings.export.diversity
        lists |= {
            f"{name}, diverse": _recommended(model, users, seen, k, offered, diversity)
            for name, model in models.items()
        }
    lists |= baseline_lists(n_ratings, biases, seen.rows(users), k, settings.train.seed, offered)
    wanted = Pairs.of(relevant.user, relevant.title, relevant.n_users).rows(users)
    n_raters = int(np.count_nonzero(np.diff(seen.start)))
    factors = next(iter(models.values())).ranking_factors.titles
    predictions = _predictions(models, biases, stars)
    return Judged(
        errors(predictions, stars),
        _calibration(next(iter(predictions.values())), stars.rating),
        ranks(lists, users, wanted, n_ratings, n_raters, factors),
        lists,
        int(np.count_nonzero(offered)),
        settings,
    )


def _seen(split: Split) -> Pairs:
    """Return the titles that are left out of each user's list.

    A simulated rating hides no title from its user, but where those are all there is, training is left out as always.
    """
    train = split.train
    return Pairs.of(train.user, train.title, train.n_users) if split.simulated else train.pairs()


def relevant_ratings(test: Dataset, settings: Settings) -> Mask:
    """Return which held-out ratings (n,) are to be found: those above neutral where they stand for a deed.

    None is of a title that cannot be recommended.
    """
    liked = np.where(
        test.implicit, test.rating > settings.train.neutral_rating, test.rating >= settings.train.relevant_rating
    )
    relevant: Mask = liked & test.offered[test.title]
    return relevant


def _drawn(users: Ints, settings: Settings) -> Ints:
    """Return users, or as many of them as are to be judged at the most."""
    most = settings.evaluation.max_users
    if len(users) <= most:
        return users
    return np.sort(np.random.default_rng(settings.train.seed).choice(users, most, replace=False))


def _predictions(models: Mapping[str, Model], biases: Biases, test: Dataset) -> dict[str, Floats]:
    """Return the predicted ratings of the held-out pairs, (n,), by who predicts."""
    by_bias: Floats = np.clip(biases.predict(test.user, test.title), RATING_MIN, RATING_MAX)
    own = {name: model.predict(test.user, test.title) for name, model in models.items()}
    return own | {"bias": by_bias, "mean": np.full(len(test), biases.mean, np.float32)}


def _calibration(predicted: Floats, actual: Floats) -> list[Calibration]:
    nearest = np.round(predicted * 2) / 2
    return [
        Calibration(float(stars), float(actual[nearest == stars].mean()), int(np.count_nonzero(nearest == stars)))
        for stars in np.unique(nearest)
    ]


def _recommended(model: Model, users: Ints, seen: Pairs, k: int, offered: Mask, diversity: float = 0.0) -> Ints:
    """Return the model's lists for ``users`` (n,), of ``offered`` titles (n_titles,): rows of titles, (n, k)."""
    recommender = Recommender(model, offered, diversity)
    blocks = np.split(users, range(_BLOCK_USERS, len(users), _BLOCK_USERS))
    return np.concatenate([recommender.recommend(block, k, seen).titles for block in blocks])


def plain(value: Any) -> Any:
    """Return data of JSON's own types; not a number is None."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and isnan(value) else value
