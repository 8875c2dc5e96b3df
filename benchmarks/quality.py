"""How well lists are ranked, on real ratings: nextreel's implicit ALS beside other recommenders, each tuned alike.

Protocol: a fifth of the ratings is held out for the test, at random or each user's last by time; of the rest a fifth,
in the same way, for validation. Every recommender has the same number of settings drawn at random from its ranges; the
one with the best nDCG@10 on the validation is trained on all but the test, and judged there. Held-out titles of four
stars or more are relevant; the whole catalogue competes, but for what the user rated in training. Users with nothing
relevant held out are left out. EASE (Steck 2019) and item-kNN (Sarwar et al. 2001) are linear models on titles; they
take those with some ratings, since their cost grows with the cube and the square of titles.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from irspack import IALSRecommender
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from benchmarks.recipe import Ratings, movielens
from nextreel.model.arrays import Floats
from nextreel.model.rank import Pairs
from nextreel.train.engine import Objective
from nextreel.train.local import local_engine

_K = 10
_LIKED = 4.0
_SHARE = 0.2
_SEEDS = 3

Settings = dict[str, Any]
Split = Callable[[Ratings], tuple[Ratings, Ratings]]


@dataclass(frozen=True)
class Recommender:
    """Scores (users, titles) from ratings and settings, and the ranges that these are drawn from."""

    scores: Callable[[Ratings, Settings, int], Floats]
    draw: Callable[[np.random.Generator], Settings]


def _log(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _liked(rng: np.random.Generator) -> Settings:
    """Draw what is taken for liking: from how many stars on, and whether more stars count more."""
    return {"from_stars": float(rng.choice([0.5, 3.0, 3.5, 4.0])), "weighted": bool(rng.random() < 0.5)}


def _matrix(data: Ratings, given: Settings) -> csr_matrix:
    kept = data.where(data.stars >= given["from_stars"])
    values = kept.stars - given["from_stars"] + 0.5 if given["weighted"] else np.ones(len(kept))
    shape = (data.n_users, data.n_titles)
    return csr_matrix((values.astype(np.float32), (kept.user, kept.title)), shape=shape)


def _ours(data: Ratings, given: Settings, seed: int) -> Floats:
    given = dict(given)
    values = data.stars - np.float32(given.pop("neutral_rating"))
    found = local_engine()(data.cells(values), Objective("implicit", seed=seed, **given))
    return found.users @ found.titles.T


def _draw_ours(rng: np.random.Generator) -> Settings:
    scaling = str(rng.choice(["positive", "all"]))
    return {
        "factors": int(rng.choice([16, 32, 64, 128])),
        "iterations": int(rng.choice([5, 10, 15])),
        "alpha": _log(rng, 0.1, 10),
        "regularization": _log(rng, 0.03, 2) if scaling == "positive" else _log(rng, 0.001, 0.1),
        "scaling": scaling,
        "neutral_rating": float(rng.choice([0.0, 2.0, 2.5, 3.0])),
    }


def _implicit(data: Ratings, given: Settings, seed: int) -> Floats:
    given = dict(given)
    matrix = _matrix(data, {name: given.pop(name) for name in ("from_stars", "weighted")})
    with threadpool_limits(1, "blas"):  # as implicit asks for
        model = AlternatingLeastSquares(random_state=seed, use_native=True, **given)
        model.fit(matrix, show_progress=False)
    return np.asarray(model.user_factors @ model.item_factors.T, np.float32)


def _draw_implicit(rng: np.random.Generator) -> Settings:
    return _liked(rng) | {
        "factors": int(rng.choice([16, 32, 64, 128])),
        "iterations": int(rng.choice([5, 10, 15])),
        "alpha": _log(rng, 0.1, 30),
        "regularization": _log(rng, 0.01, 300),
    }


def _irspack(data: Ratings, given: Settings, seed: int) -> Floats:
    given = dict(given)
    matrix = _matrix(data, {name: given.pop(name) for name in ("from_stars", "weighted")})
    model = IALSRecommender(matrix, random_seed=seed, **given)
    model.start_learning()
    for _ in range(given["train_epochs"]):
        model.run_epoch()
    return np.asarray(model.get_user_embedding() @ model.get_item_embedding().T, np.float32)


def _draw_irspack(rng: np.random.Generator) -> Settings:
    return _liked(rng) | {
        "n_components": int(rng.choice([16, 32, 64, 128])),
        "train_epochs": int(rng.choice([5, 10, 15])),
        "alpha0": _log(rng, 0.01, 1),
        "reg": _log(rng, 0.0003, 0.1),
    }


def _among_common(weights: Callable[[Floats, Settings], Floats]) -> Callable[[Ratings, Settings, int], Floats]:
    """Return a linear model on the titles with some ratings: scores X W, W of X'X; 0 for other titles."""

    def scores(data: Ratings, given: Settings, seed: int) -> Floats:
        x = _matrix(data, given)
        common = np.flatnonzero(np.diff(x.tocsc().indptr) >= given["least_ratings"])
        x = x[:, common]
        found = np.zeros((data.n_users, data.n_titles), np.float32)
        found[:, common] = x @ weights(np.asarray((x.T @ x).todense(), np.float32), given)
        return found

    return scores


def _ease(gram: Floats, given: Settings) -> Floats:
    """Steck 2019: W = I - P diag(P)⁻¹ with P = (XᵀX + λI)⁻¹."""
    inverse = np.linalg.inv(gram + np.float32(given["regularization"]) * np.eye(len(gram), dtype=np.float32))
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices(len(weights))] = 0
    return np.asarray(weights, np.float32)


def _draw_ease(rng: np.random.Generator) -> Settings:
    return _liked(rng) | {"regularization": _log(rng, 10, 3_000), "least_ratings": int(rng.choice([2, 3, 5]))}


def _knn(gram: Floats, given: Settings) -> Floats:
    """Cosine of titles, shrunk; the nearest alone."""
    norm = np.sqrt(np.diag(gram))
    alike = gram / (norm[:, None] * norm + np.float32(given["shrinkage"]))
    alike[np.diag_indices(len(alike))] = 0
    n = min(given["neighbours"], len(alike))
    alike[alike < np.partition(alike, -n, axis=1)[:, [-n]]] = 0
    return np.asarray(alike.T, np.float32)


def _draw_knn(rng: np.random.Generator) -> Settings:
    choice = {"neighbours": int(rng.choice([20, 50, 100, 200, 500])), "least_ratings": int(rng.choice([2, 3, 5]))}
    return _liked(rng) | choice | {"shrinkage": _log(rng, 0.1, 100)}


def _popularity(data: Ratings, given: Settings, seed: int) -> Floats:
    count = np.asarray(_matrix(data, given).sum(0), np.float32)
    return np.repeat(count.reshape(1, -1), data.n_users, axis=0)


_RECOMMENDERS = {
    "nextreel": Recommender(_ours, _draw_ours),
    "implicit": Recommender(_implicit, _draw_implicit),
    "irspack": Recommender(_irspack, _draw_irspack),
    "EASE": Recommender(_among_common(_ease), _draw_ease),
    "item-kNN": Recommender(_among_common(_knn), _draw_knn),
    "popularity": Recommender(_popularity, _liked),
}
_FACTORS = ("implicit", "irspack")


def run(arguments: list[str]) -> dict[str, Any]:
    """Tune and judge everyone, on both splits."""
    parser = argparse.ArgumentParser(prog="./run bench quality")
    parser.add_argument("--movielens", type=Path, required=True, help="folder of a MovieLens data set")
    parser.add_argument("--trials", type=int, default=80, help="settings drawn for each recommender")
    given = parser.parse_args(arguments)
    ratings = movielens(given.movielens)
    splits: dict[str, Split] = {
        "random": lambda data: data.split(_SHARE),
        "temporal": lambda data: data.split_by_time(_SHARE),
    }
    with threadpool_limits(2):
        found = {name: _judged(ratings, split, given.trials) for name, split in splits.items()}
    own = {name: each["nextreel"]["ndcg"] for name, each in found.items()}
    return {
        "ours": {f"{name}_ndcg": value for name, value in own.items()},
        "peers": found,
        "ratios": {who: round(min(own[name] / found[name][who]["ndcg"] for name in found), 4) for who in _FACTORS},
        "trials": given.trials,
        "ratings": len(ratings),
    }


def _judged(ratings: Ratings, split: Split, trials: int) -> dict[str, Any]:
    train, test = split(ratings)
    fit, validation = split(train)
    found = {}
    for who, recommender in _RECOMMENDERS.items():
        rng = np.random.default_rng(0)
        tried = [recommender.draw(rng) for _ in range(trials)]
        best = max(tried, key=lambda s: _metrics(recommender.scores(fit, s, 0), fit, validation)[0])
        each = [_metrics(recommender.scores(train, best, seed), train, test) for seed in range(_SEEDS)]
        ndcg, recall, coverage = np.mean(each, axis=0)
        found[who] = {
            "ndcg": round(float(ndcg), 4),
            "ndcg_of_seeds": [round(float(e[0]), 4) for e in each],
            "recall": round(float(recall), 4),
            "coverage": round(float(coverage), 4),
            "settings": best,
        }
    return found


def _metrics(scores: Floats, train: Ratings, test: Ratings) -> tuple[float, float, float]:
    """Return nDCG@10, recall@10 and the share of the catalogue in anybody's list."""
    relevant = test.where(test.stars >= _LIKED)
    users = np.unique(relevant.user).astype(np.int64)
    seen = Pairs.of(train.user, train.title, train.n_users).rows(users)
    scores = scores[users]
    scores[np.repeat(np.arange(len(users)), np.diff(seen.start)), seen.titles] = -np.inf
    lists = np.argsort(-scores, axis=1, kind="stable")[:, :_K]
    wanted = relevant.user.astype(np.int64) * relevant.n_titles + relevant.title
    hits = np.isin(users[:, None] * relevant.n_titles + lists, wanted)
    discount = 1 / np.log2(np.arange(2, _K + 2))
    n_wanted = np.bincount(relevant.user, minlength=relevant.n_users)[users]
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(n_wanted, _K)]
    recall = np.mean(hits.sum(1) / n_wanted)
    return float(np.mean((hits * discount).sum(1) / ideal)), float(recall), len(np.unique(lists)) / train.n_titles


def show(result: dict[str, Any]) -> None:
    """Print a table for each split."""
    chosen = f"{result['trials']} settings each, chosen on validation; means of {_SEEDS} seeds"
    print(f"{result['ratings']:,} ratings; {chosen}")
    for split, found in result["peers"].items():
        print(f"\n{split:10} {'nDCG@10':>8} {'recall@10':>10} {'coverage':>9}")
        for who, each in sorted(found.items(), key=lambda item: -item[1]["ndcg"]):
            print(f"{who:10} {each['ndcg']:8.4f} {each['recall']:10.4f} {each['coverage']:9.1%}  {each['settings']}")
