"""Users and titles with traits, of which all have genres and an age rating, and nothing else."""

import numpy as np
import pyarrow as pa

STRINGS = pa.list_(pa.string())


def side(key: str, prefix: str, n: int) -> pa.Table:
    """n rows, named by ``key``, each with two genres."""
    rng = np.random.default_rng(n)
    genres = [rng.choice(["Drama", "War", "Crime", "Comedy"], 2, replace=False).tolist() for _ in range(n)]
    return pa.table(
        {
            key: [f"{prefix}{i}" for i in range(n)],
            "genres": pa.array(genres, STRINGS),
            **{t: pa.nulls(n, STRINGS) for t in ("directors", "actors", "decades")},
            "age_rating": pa.array(["PG"] * n),
        }
    )
