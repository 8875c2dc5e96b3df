"""Users by how much they have rated."""

import numpy as np

from nextreel.model.arrays import Ints, Mask


def activity_segments(n_ratings: Ints, users: Mask) -> dict[str, Mask]:
    """Return which ``users`` (a mask, (n,)) are of which segment, as masks (n,); segments without users are left out.

    ``n_ratings`` (n,) is what each has rated in training. ``new`` are those who have rated nothing; the others are
    divided by terciles of that number, and as many ratings are always one segment: ``light``, ``medium``, ``heavy``.
    """
    active = users & (n_ratings > 0)
    low, high = np.quantile(n_ratings[active], [1 / 3, 2 / 3], method="inverted_cdf") if active.any() else (0, 0)
    found = {
        "new": users & (n_ratings == 0),
        "light": active & (n_ratings <= low),
        "medium": active & (n_ratings > low) & (n_ratings <= high),
        "heavy": active & (n_ratings > high),
    }
    return {name: mask for name, mask in found.items() if mask.any()}
