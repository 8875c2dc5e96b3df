"""The bias baseline: how far users and titles lie off the mean, damped."""

import numpy as np

from nextreel.model.model import Biases
from nextreel.train.dataset import Dataset


def fit_biases(data: Dataset, damping: float) -> Biases:
    """Return damped means, titles first, then users on what is left.

        b_t = Σ_u (r_ut - μ) / (damping + n_t)        b_u = Σ_t (r_ut - μ - b_t) / (damping + n_u)

    Source: Koren, Bell, Volinsky, "Matrix factorization techniques for recommender systems", and Funk's damped mean.
    """
    if len(data) == 0:
        return Biases(0.0, np.zeros(data.n_users, np.float32), np.zeros(data.n_titles, np.float32))
    rating = data.rating.astype(np.float64)
    mean = float(rating.mean())
    off = rating - mean
    titles = np.bincount(data.title, off, data.n_titles) / np.maximum(
        damping + np.bincount(data.title, minlength=data.n_titles), 1e-9
    )
    users = np.bincount(data.user, off - titles[data.title], data.n_users) / np.maximum(
        damping + np.bincount(data.user, minlength=data.n_users), 1e-9
    )
    return Biases(mean, users.astype(np.float32), titles.astype(np.float32))
