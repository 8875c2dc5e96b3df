"""One model version's folder: what is in it, written and read.

model.json                  parameters, metrics, what data it saw, version, time
{users,titles}.arrow        ids, biases, activity or popularity
*.npy                       factors
new-{users,titles}.arrow    what is expected by traits: a row for the average, one for the intercepts, one a trait
and what a server needs besides: `nextreel.model.snapshot`
"""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypedDict, get_args

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather

from nextreel.durable import sync
from nextreel.errors import ModelError
from nextreel.model.arrays import Floats
from nextreel.model.estimate import TraitModel
from nextreel.model.model import Biases, Factors, Feedback, Model, Newcomers
from nextreel.model.ridge import Linear
from nextreel.model.snapshot import Snapshot, mapped, write_snapshot
from nextreel.model.solve import Scaling
from nextreel.model.traits import Vocabulary

#: What model.json says.
Facts = dict[str, Any]

#: The file that says everything but the numbers.
FACTS = "model.json"

_FACTORS = ("rating_factors", "ranking_factors")
_SIDES = ("users", "titles")
_TABLES = (*_SIDES, *(f"new-{side}" for side in _SIDES))
#: What a `TraitModel` says in single numbers, kept in its table's metadata.
_SCALARS = ("stretch", "longest")


class Parts(TypedDict):
    """A model as what any Arrow and numpy can read: tables and arrays by the names of their files, and facts."""

    tables: dict[str, pa.Table]
    arrays: dict[str, Floats]
    facts: Facts


def taken_apart(model: Model) -> Parts:
    """Return the parts of a model."""
    b = model.biases
    tables = {
        "users": pa.table({"id": model.user_ids, "bias": b.users, "activity": model.activity}),
        "titles": pa.table({"id": model.title_ids, "bias": b.titles, "popularity": model.popularity}),
    }
    new = {f"new-{side}": _as_table(getattr(model.newcomers, side)) for side in _SIDES}
    arrays = {f"{name}-{side}": getattr(getattr(model, name), side) for name in _FACTORS for side in _SIDES}
    return Parts(tables=tables | new, arrays=arrays, facts={"mean": b.mean, "feedback": asdict(model.feedback)})


def put_together(parts: Parts) -> Model:
    """Return the model of which these are the parts. Raises `KeyError` or `ModelError` where they are not."""
    tables, arrays, facts = parts["tables"], parts["arrays"], parts["facts"]
    users, titles = tables["users"], tables["titles"]
    factors = {name: Factors(*(arrays[f"{name}-{side}"] for side in _SIDES)) for name in _FACTORS}
    return Model(
        user_ids=users["id"].combine_chunks(),
        title_ids=titles["id"].combine_chunks(),
        biases=Biases(float(facts["mean"]), users["bias"].to_numpy(), titles["bias"].to_numpy()),
        popularity=titles["popularity"].to_numpy(),
        activity=users["activity"].to_numpy(),
        feedback=_feedback(facts["feedback"]),
        newcomers=Newcomers(*(_trait_model(tables[f"new-{side}"]) for side in _SIDES)),
        **factors,
    )


def _feedback(said: Facts) -> Feedback:
    """Return how ratings became factors; versions before there was a choice of scaling do not name theirs."""
    scaling = said.get("ranking_scaling", "positive")
    if scaling not in get_args(Scaling):
        raise ModelError(f"there is no scaling {scaling!r}")
    numbers = [field.name for field in fields(Feedback) if field.name != "ranking_scaling"]
    return Feedback(**{name: float(said[name]) for name in numbers}, ranking_scaling=scaling)


def write_version(folder: Path, model: Model, facts: Facts, snapshot: Snapshot | None = None) -> None:
    """Write a model to a folder that is there, durably, and ``facts``, to which those of the model itself are added."""
    parts = taken_apart(model)
    for name, table in parts["tables"].items():
        feather.write_feather(table, folder / f"{name}.arrow", compression="zstd")
    for name, array in parts["arrays"].items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    if snapshot is not None:
        write_snapshot(folder, snapshot)
    (folder / FACTS).write_text(json.dumps(facts | parts["facts"], indent=2) + "\n", "utf-8")
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
    if not _is_evaluation(facts.get("evaluation")) or not isinstance(facts.get("data", {}), dict):
        raise ModelError(f"model version {folder.name!r} in {folder.parent} is damaged: {FACTS} tells no figures")
    return facts


def _is_evaluation(said: Any) -> bool:
    """Tell whether something has figures by who is judged, for ranking and for accuracy, or is nothing at all."""
    if said is None:
        return True
    groups = [said.get(name, {}) for name in ("ranking", "accuracy")] if isinstance(said, dict) else [None]
    return all(
        isinstance(group, dict) and all(isinstance(each, dict) and _are_figures(each) for each in group.values())
        for group in groups
    )


def _are_figures(said: dict[str, Any]) -> bool:
    return all(value is None or isinstance(value, int | float) for value in said.values())


def read_model(folder: Path, map_factors: bool = False) -> Model:
    """Read a version's model; ``map_factors`` into memory, so that they are read as far as they are used.

    Raises `ModelError` where a part is missing or damaged, or they do not fit together.
    """
    read = mapped if map_factors else _array
    facts = read_facts(folder)
    try:
        tables = {name: feather.read_table(folder / f"{name}.arrow") for name in _TABLES}
        arrays = {f"{name}-{side}": read(folder / f"{name}-{side}.npy") for name in _FACTORS for side in _SIDES}
        return put_together(Parts(tables=tables, arrays=arrays, facts=facts))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise ModelError(f"model version {folder.name!r} in {folder.parent} is damaged: {error}") from None


def _as_table(learned: TraitModel) -> pa.Table:
    none = np.zeros_like
    parts = {"ranking": learned.ranking, "rating": learned.rating, "bias": learned.bias}
    first = {name: learned.average if name == "ranking" else none(linear.intercept) for name, linear in parts.items()}
    columns = {name: _lists(np.vstack([first[name], p.intercept, p.coefficients])) for name, p in parts.items()}
    names = pa.concat_arrays([pa.nulls(2, pa.string()), learned.vocabulary.names])
    return pa.table({"trait": names} | columns, metadata={name: repr(getattr(learned, name)) for name in _SCALARS})


def _trait_model(table: pa.Table) -> TraitModel:
    values = {name: _matrix(table[name]) for name in ("ranking", "rating", "bias")}
    ranking, rating, bias = (Linear(rows[1], rows[2:]) for rows in values.values())
    names = table["trait"].combine_chunks()[2:]
    stretch, longest = (float(table.schema.metadata[name.encode()]) for name in _SCALARS)
    return TraitModel(Vocabulary(names), ranking, rating, bias, values["ranking"][0], stretch, longest)


def _lists(rows: Floats) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel(), pa.float32()), rows.shape[1])


def _matrix(lists: pa.ChunkedArray) -> Floats:
    found: Floats = lists.combine_chunks().flatten().to_numpy().reshape(len(lists), -1)
    return found


def _array(path: Path) -> Floats:
    """Read one array. Not `np.load`: that also opens zip files and raises `EOFError` for an empty file."""
    with path.open("rb") as file:
        found: Floats = np.lib.format.read_array(file, allow_pickle=False)
    return found
