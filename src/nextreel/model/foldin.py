"""Users or titles solved for from the ratings that there are of them now, the other side staying as it is.

The last step of every training, and all of what happens to a user between two of them: who is folded in has exactly the
factors that a training with the same ratings ends with.
"""

from dataclasses import dataclass, replace

import numpy as np

from nextreel.model.arrays import Floats
from nextreel.model.estimate import Estimate
from nextreel.model.model import Feedback
from nextreel.model.solve import Rows, Systems, explicit, gram, implicit, solve


@dataclass(frozen=True)
class FoldIn:
    """Solves for users, or titles, given the ``other`` side: n_other factors that rank and that predict, biases.

    ``gram`` (k, k) is the Gram matrix of all ``n_other`` of that side's factors that rank.
    """

    other: Estimate
    gram: Floats
    n_other: int
    mean: float
    feedback: Feedback

    @classmethod
    def of(cls, other: Estimate, mean: float, feedback: Feedback) -> "FoldIn":
        """Return what solves given the whole of the other side."""
        return cls(other, gram(other.ranking), len(other.ranking), mean, feedback)

    def given(self, other: Estimate) -> "FoldIn":
        """Return the same for ratings of some of the other side, rows of their own here, or of newcomers to it."""
        return replace(self, other=other)

    def solve(self, liking: Rows, ratings: Rows, threads: int | None = None) -> Estimate:
        """Return what ratings alone say of each row; 0 for rows that have none.

        Both are in stars: ``liking`` is what the factors that rank are solved from, ``ratings`` what all else is.
        """
        off = ratings.values - np.float32(self.mean) - self.other.bias[ratings.columns]
        row = np.zeros(len(off), np.int64) if len(ratings) == 1 else np.repeat(np.arange(len(ratings)), ratings.counts)
        bias = np.bincount(row, off, len(ratings)) / np.maximum(self.feedback.damping + ratings.counts, 1e-9)
        bias = bias.astype(np.float32)
        left = Rows(ratings.start, ratings.columns, off - bias[row])
        above = Rows(liking.start, liking.columns, liking.values - np.float32(self.feedback.neutral_rating))
        return Estimate(
            solve(self.confident(above, self.other.ranking), self.other.ranking, threads=threads),
            solve(explicit(left, self.feedback.regularization), self.other.rating, threads=threads),
            bias,
        )

    def confident(self, above: Rows, other: Floats) -> Systems:
        """Return the systems of the factors that rank: cells in stars above neutral, given some of the other side."""
        said = self.feedback
        return implicit(
            above,
            other,
            said.ranking_regularization,
            said.alpha,
            said.ranking_scaling,
            gram_of_other=self.gram,
            n_columns=self.n_other,
        )
