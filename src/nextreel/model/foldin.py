"""Users or titles solved for from the ratings that there are of them now, the other side staying as it is.

The last step of every training, and all of what happens to a user between two of them: who is folded in has exactly the
factors that a training with the same ratings ends with.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nextreel.model.arrays import Floats
from nextreel.model.estimate import Estimate
from nextreel.model.model import Feedback
from nextreel.model.solve import Rows, explicit, gram, implicit, solve


@dataclass(frozen=True)
class FoldIn:
    """Solves for users, or titles, given the ``other`` side: n_other factors that rank and that predict, biases."""

    other: Estimate
    mean: float
    feedback: Feedback

    @cached_property
    def gram(self) -> Floats:
        """The Gram matrix of the other side's factors that rank, (k, k)."""
        return gram(self.other.ranking)

    def solve(self, liking: Rows, ratings: Rows, threads: int | None = None) -> Estimate:
        """Return what ratings alone say of each row; 0 for rows that have none.

        Both are in stars: ``liking`` is what the factors that rank are solved from, ``ratings`` what all else is.
        """
        off = ratings.values - np.float32(self.mean) - self.other.bias[ratings.columns]
        row = np.repeat(np.arange(len(ratings)), ratings.counts)
        bias = np.bincount(row, off, len(ratings)) / np.maximum(self.feedback.damping + ratings.counts, 1e-9)
        bias = bias.astype(np.float32)
        left = Rows(ratings.start, ratings.columns, off - bias[row])
        above = Rows(liking.start, liking.columns, liking.values - np.float32(self.feedback.neutral_rating))
        regularization, alpha = self.feedback.ranking_regularization, self.feedback.alpha
        confident = implicit(above, self.other.ranking, regularization, alpha, gram_of_other=self.gram)
        return Estimate(
            solve(confident, self.other.ranking, threads=threads),
            solve(explicit(left, self.feedback.regularization), self.other.rating, threads=threads),
            bias,
        )
