"""How good a model is: on ratings it has not seen, over the whole catalogue, beside its baselines."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from nextreel.model.model import Model
from nextreel.model.rank import Ints, Pairs, blocks, top_k, top_k_of_scores
from nextreel.model.recommend import recommend
from nextreel.settings import TrainSettings
from nextreel.train.biases import fit_biases
from nextreel.train.dataset import Dataset

#: The length of the lists that are judged.
K = 10


@dataclass(frozen=True)
class Accuracy:
    """Errors of predicted ratings, in stars, over the held-out ratings."""

    rmse: float
    mae: float


@dataclass(frozen=True)
class Ranking:
    """How lists of K titles do, means over users who have something to find.

    ``ndcg`` and ``recall`` are of held-out titles rated ``relevant_rating`` or more; ``coverage`` is the share of the
    catalogue in anybody's list. Titles rated in training are left out of the lists, all others compete.
    """

    ndcg: float
    recall: float
    coverage: float


@dataclass(frozen=True)
class Evaluation:
    """A model's metrics and its baselines', by name."""

    accuracy: dict[str, Accuracy]
    ranking: dict[str, Ranking]
    n_train: int
    n_test: int
    n_users_ranked: int
    simulated: bool

    def as_dict(self) -> dict[str, object]:
        """Return it as plain data, for model.json; what could not be measured is None."""
        found = asdict(self)
        for group in (*found["accuracy"].values(), *found["ranking"].values()):
            group.update({name: None for name, value in group.items() if np.isnan(value)})
        return found


def evaluate(model: Model, train: Dataset, test: Dataset, settings: TrainSettings) -> Evaluation:
    """Judge ``model``, which was trained on ``train``, by ``test``.

    Baselines: for ratings, the mean and damped biases; for lists, popularity and random ones.
    """
    biases = fit_biases(train, settings.damping)
    constant = np.full(len(test), biases.mean, np.float32)
    by_bias = np.clip(biases.predict(test.user, test.title), 0.5, 5.0)
    accuracy = {
        "als": _accuracy(model.predict(test.user, test.title), test.rating),
        "bias": _accuracy(by_bias, test.rating),
        "mean": _accuracy(constant, test.rating),
    }
    relevant = test.where(test.rating >= settings.relevant_rating)
    users = np.unique(relevant.user)
    # A simulated rating hides no title from its user, but where those are all there is, training is left out as always.
    known = Pairs.of(train.user, train.title, train.n_users) if _all_simulated(test) else train.pairs()
    return Evaluation(
        accuracy=accuracy,
        ranking={
            n: _ranking(lists, relevant, users) for n, lists in _lists(model, train, users, settings, known).items()
        },
        n_train=len(train),
        n_test=len(test),
        n_users_ranked=len(users),
        simulated=_all_simulated(test),
    )


def _all_simulated(data: Dataset) -> bool:
    return len(data) > 0 and bool(data.simulated.all())


def _lists(
    model: Model, train: Dataset, users: NDArray[np.int32], settings: TrainSettings, known: Pairs
) -> dict[str, Ints]:
    """Return each recommender's lists for ``users``, without what is ``known`` of all: rows of titles, (n, K)."""
    rows = users.astype(np.int64)
    seen = known.rows(rows)
    popular = np.ones((len(users), 1), np.float32)
    return {
        "als": recommend(model, rows, K, known, np.ones(train.n_titles, np.bool_)).titles,
        "popularity": top_k(popular, model.popularity[:, None], K, seen)[0],
        "random": _at_random(seen, train.n_titles, settings.seed),
    }


def _at_random(seen: Pairs, n_titles: int, seed: int) -> Ints:
    """Return K titles, drawn evenly from those not seen, for each user."""
    n = len(seen.start) - 1
    rng = np.random.default_rng(seed)
    found = []
    for block in blocks(n, n_titles):
        scores = rng.random((len(block), n_titles), np.float32)
        out = seen.rows(block)
        scores[np.repeat(np.arange(len(block)), np.diff(out.start)), out.titles] = -np.inf
        found.append(top_k_of_scores(scores, K)[0])
    return np.concatenate(found) if found else np.zeros((0, K), np.int64)


def _accuracy(predicted: NDArray[np.float32], actual: NDArray[np.float32]) -> Accuracy:
    off = predicted.astype(np.float64) - actual
    if len(off) == 0:
        return Accuracy(float("nan"), float("nan"))
    return Accuracy(float(np.sqrt(np.mean(off**2))), float(np.mean(np.abs(off))))


def _ranking(lists: Ints, relevant: Dataset, users: NDArray[np.int32]) -> Ranking:
    """Return the metrics of lists (n, K) for ``users`` (n,), given what was relevant to each.

    nDCG with binary gains, discount 1 / log2(position + 1), against the best list of K (Järvelin, Kekäläinen 2002).
    """
    if len(users) == 0:
        return Ranking(float("nan"), float("nan"), 0.0)
    wanted = relevant.user.astype(np.int64) * relevant.n_titles + relevant.title
    hits = np.isin(users.astype(np.int64)[:, None] * relevant.n_titles + lists, wanted) & (lists >= 0)
    n_relevant = np.bincount(relevant.user, minlength=relevant.n_users)[users]
    discount = 1 / np.log2(np.arange(2, K + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(n_relevant, K)]
    return Ranking(
        ndcg=float(np.mean((hits * discount).sum(1) / ideal)),
        recall=float(np.mean(hits.sum(1) / n_relevant)),
        coverage=len(np.unique(lists[lists >= 0])) / relevant.n_titles,
    )
