"""Which user-title pairs are worth a simulated rating, without comparing everyone with everything.

Titles are filed under each of their traits ("genres Drama", "actors …") and, once, under everything. A user draws a
few titles from the files of the traits that they declare, and some from the file of everything for contrast: the work
grows with users times draws, not with users times titles. Draws come from a hash of user, file and seed, so that the
same lake gives the same pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nextreel.events.draws import uniform
from nextreel.ratings.affinity import flat

Ints = NDArray[np.int64]

_TRAITS = ("genres", "directors", "actors", "decades")
_EVERYTHING = "everything"

#: Of a user's draws, the share from the file of everything: without titles that do not fit, ALS would learn from
#: praise alone.
_CONTRAST = 0.3


@dataclass(frozen=True)
class TitleFiles:
    """Titles by trait: those of file i, by name ``names[i]``, are ``titles[start[i]:start[i + 1]]`` (rows)."""

    names: pa.StringArray
    start: Ints
    titles: Ints

    @classmethod
    def of(cls, titles: Mapping[str, pa.Array]) -> "TitleFiles":
        """File titles, given as columns of string lists."""
        rows, names = _entries(titles)
        encoded = names.dictionary_encode()
        file = encoded.indices.to_numpy().astype(np.int64)
        order = np.argsort(file, kind="stable")
        start = np.zeros(len(encoded.dictionary) + 1, np.int64)
        np.cumsum(np.bincount(file, minlength=len(encoded.dictionary)), out=start[1:])
        return cls(encoded.dictionary, start, rows[order])


def candidates(
    user_ids: pa.StringArray, users: Mapping[str, pa.Array], files: TitleFiles, per_user: int, seed: int
) -> tuple[Ints, Ints]:
    """Return distinct pairs, at most ``per_user`` a user: user rows and title rows, both (n,), in order.

    ``users`` has the columns of string lists genres, directors, actors and decades.
    """
    rows, names = _entries(users)
    found = pc.index_in(names, files.names)
    known = pc.is_valid(found).to_numpy(zero_copy_only=False)
    rows, file = rows[known], pc.drop_null(found).to_numpy().astype(np.int64)
    everything = pc.index(files.names, _EVERYTHING).as_py()
    size = np.diff(files.start)[file]
    contrast = max(1, round(per_user * _CONTRAST))
    n_declared = np.bincount(rows[file != everything], minlength=len(user_ids))[rows]
    share = np.ceil((per_user - contrast) / np.maximum(n_declared, 1)).astype(np.int64) + 1
    draws = np.minimum(np.where(file == everything, contrast, share), size)
    entry = np.repeat(np.arange(len(rows)), draws)
    nth = np.arange(len(entry)) - np.repeat(np.cumsum(draws) - draws, draws)
    who = hashed(user_ids)
    place = uniform(seed, "candidates", who[rows[entry]], hashed(files.names)[file[entry]], nth) * size[entry]
    title = files.titles[files.start[file[entry]] + place.astype(np.int64)]
    return _at_most(per_user, rows[entry], title, who, seed)


def hashed(names: pa.StringArray) -> NDArray[np.uint64]:
    """Return a hash of each string, the same on every machine."""
    found: NDArray[np.uint64] = pd.util.hash_array(names.to_numpy(zero_copy_only=False), categorize=False)
    return found


def _at_most(per_user: int, user: Ints, title: Ints, who: NDArray[np.uint64], seed: int) -> tuple[Ints, Ints]:
    """Drop repeated pairs, then all but ``per_user`` of each user, chosen by hash."""
    pairs = np.unique(np.stack([user, title], axis=1), axis=0) if len(user) else np.zeros((0, 2), np.int64)
    user, title = pairs[:, 0], pairs[:, 1]
    order = np.lexsort((uniform(seed, "kept", who[user], title), user))
    place = np.arange(len(order)) - np.searchsorted(user, user)
    kept = np.sort(order[place < per_user])
    return user[kept], title[kept]


def _entries(traits: Mapping[str, pa.Array]) -> tuple[Ints, pa.StringArray]:
    """Return the row and the file of each trait value, and of everything."""
    n = len(traits[_TRAITS[0]])
    rows, names = [np.arange(n)], [pa.repeat(_EVERYTHING, n)]
    for trait in _TRAITS:
        of, values = flat(traits[trait])
        rows.append(of)
        names.append(pc.binary_join_element_wise(trait, values, " "))
    return np.concatenate(rows), pa.concat_arrays(names)
