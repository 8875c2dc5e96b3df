"""One model version's folder: what is in it, written and read.

model.json              parameters, metrics, what data it saw, version, time
{users,titles}.arrow    ids, biases, popularity
*.npy                   factors
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather

from nextreel.durable import sync
from nextreel.errors import ModelError
from nextreel.model.arrays import Floats
from nextreel.model.model import Biases, Factors, Model

#: What model.json says.
Facts = dict[str, Any]

#: The file that says everything but the numbers.
FACTS = "model.json"

_FACTORS = ("rating_factors", "ranking_factors")


def write_version(folder: Path, model: Model, facts: Facts) -> None:
    """Write a model to a folder that is there, durably, and its facts, among which is the mean rating, ``mean``."""
    b = model.biases
    users = pa.table({"id": model.user_ids, "bias": b.users})
    titles = pa.table({"id": model.title_ids, "bias": b.titles, "popularity": model.popularity})
    feather.write_feather(users, folder / "users.arrow", compression="zstd")
    feather.write_feather(titles, folder / "titles.arrow", compression="zstd")
    for name in _FACTORS:
        factors: Factors = getattr(model, name)
        np.save(folder / f"{name}-users.npy", factors.users, allow_pickle=False)
        np.save(folder / f"{name}-titles.npy", factors.titles, allow_pickle=False)
    (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    for path in (*folder.iterdir(), folder):
        sync(path)


def read_facts(folder: Path) -> Facts:
    """Read a version's model.json. Raises `ModelError` where it is missing or no JSON object."""
    try:
        facts = json.loads((folder / FACTS).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"model version {folder.name!r} in {folder.parent} cannot be read: {error}") from None
    if not isinstance(facts, dict):
        raise ModelError(f"model version {folder.name!r} in {folder.parent} is damaged: {FACTS} is no JSON object")
    return facts


def read_model(folder: Path) -> Model:
    """Read a version's model. Raises `ModelError` where a part is missing or damaged, or they do not fit together."""
    facts = read_facts(folder)
    try:
        users = feather.read_table(folder / "users.arrow")
        titles = feather.read_table(folder / "titles.arrow")
        factors = {
            name: Factors(_array(folder / f"{name}-users.npy"), _array(folder / f"{name}-titles.npy"))
            for name in _FACTORS
        }
        return Model(
            user_ids=users["id"].combine_chunks(),
            title_ids=titles["id"].combine_chunks(),
            biases=Biases(float(facts["mean"]), users["bias"].to_numpy(), titles["bias"].to_numpy()),
            popularity=titles["popularity"].to_numpy(),
            **factors,
        )
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise ModelError(f"model version {folder.name!r} in {folder.parent} is damaged: {error}") from None


def _array(path: Path) -> Floats:
    """Read one array. Not `np.load`: that also opens zip files and raises `EOFError` for an empty file."""
    with path.open("rb") as file:
        found: Floats = np.lib.format.read_array(file, allow_pickle=False)
    return found
