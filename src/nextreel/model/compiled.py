"""Compile `nextreel.model.solve_kernels` and `rank_kernels` before training or a request needs them."""

import numpy as np

from nextreel.model.arrays import Floats
from nextreel.model.rank import Catalogue
from nextreel.model.solve import Rows, explicit, gram, implicit, loss, solve


def compile_kernels() -> None:
    """Run every kernel once, which compiles it, or loads it from numba's cache."""
    compile_serving_kernels()
    rows, other = _one_rating()
    systems = implicit(rows, other, 1.0, 1.0, gram_of_other=gram(other))
    loss(systems, solve(systems, other, steps=1), other)


def compile_serving_kernels() -> None:
    """Run once the kernels that requests and events use, which compiles them, or loads them from numba's cache.

    These are fold-in, the top k and similar titles; diversity and popularity use numpy alone. A process that has
    compiled them takes less than a millisecond.
    """
    rows, other = _one_rating()
    for systems in (explicit(rows, 1.0), implicit(rows, other, 1.0, 1.0, gram_of_other=np.ones((1, 1), np.float32))):
        solve(systems, other)
    catalogue = Catalogue.of(other)
    allowed = catalogue.filter(np.ones(1, np.bool_))
    catalogue.top_k(other, 1, None, allowed)
    catalogue.most_alike(other[0], 1, np.zeros(0, np.int64), allowed)


def _one_rating() -> tuple[Rows, Floats]:
    """Return one rating as rows, and the factors, (1, 1), of the title that is rated."""
    one = np.zeros(1, np.int32)
    return Rows.of(one, one, np.ones(1, np.float32), 1), np.ones((1, 1), np.float32)


if __name__ == "__main__":
    compile_kernels()
