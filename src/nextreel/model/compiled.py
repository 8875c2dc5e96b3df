"""Compiles all of `nextreel.model.kernels` ahead: who trains next does not wait for it."""

import numpy as np

from nextreel.model.rank import top_k
from nextreel.model.solve import Rows, explicit, implicit, loss, solve


def compile_kernels() -> None:
    """Run every kernel once, which compiles it, or loads it from where it is kept."""
    one = np.zeros(1, np.int32)
    rows, other = Rows.of(one, one, np.ones(1, np.float32), 1), np.ones((1, 1), np.float32)
    for systems in (explicit(rows, 1.0), implicit(rows, other, 1.0, 1.0)):
        for steps in (None, 1):
            loss(systems, solve(systems, other, steps=steps), other)
    top_k(other, other, 1)


if __name__ == "__main__":
    compile_kernels()
