"""Compiles `nextreel.model.solve_kernels` and `rank_kernels` ahead: who trains next does not wait for it."""

import numpy as np

from nextreel.model.rank import Catalogue
from nextreel.model.solve import Rows, explicit, implicit, loss, solve


def compile_kernels() -> None:
    """Run every kernel once, which compiles it, or loads it from where it is kept."""
    one = np.zeros(1, np.int32)
    rows, other = Rows.of(one, one, np.ones(1, np.float32), 1), np.ones((1, 1), np.float32)
    for systems in (explicit(rows, 1.0), implicit(rows, other, 1.0, 1.0)):
        for steps in (None, 1):
            loss(systems, solve(systems, other, steps=steps), other)
    catalogue = Catalogue.of(other)
    allowed = catalogue.filter(np.ones(1, np.bool_))
    catalogue.top_k(other, 1, None, allowed)
    catalogue.most_alike(other[0], 1, np.zeros(0, np.int64), allowed)


if __name__ == "__main__":
    compile_kernels()
