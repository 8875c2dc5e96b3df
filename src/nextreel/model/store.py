"""Model versions on disk.

    <models>/<version>/model.json          parameters, metrics, what data it saw, version, time
    <models>/<version>/{users,titles}.arrow    ids, biases, popularity
    <models>/<version>/*.npy               factors
    <models>/current                       the name of one version

A version is written beside its place and moved there whole; ``current`` is replaced atomically. A kill at any moment
leaves the old current.
"""

import json
import os
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather

from nextreel.durable import sync, write_text
from nextreel.errors import ModelError
from nextreel.model.model import Biases, Factors, Floats, Model

_VERSION = re.compile(r"\d{8}T\d{6}-\d{3}")
_FACTORS = ("rating_factors", "ranking_factors")


@dataclass(frozen=True)
class ModelStore:
    """The versions under one directory."""

    root: Path

    def versions(self) -> list[str]:
        """Return the names of all complete versions, oldest first."""
        return sorted(p.name for p in self.root.glob("*") if p.is_dir() and _VERSION.fullmatch(p.name))

    def current(self) -> str | None:
        """Return the name of the current version, or None where there is none yet."""
        pointer = self.root / "current"
        return pointer.read_text("utf-8").strip() if pointer.exists() else None

    def save(self, model: Model, facts: dict[str, Any], now: datetime | None = None) -> str:
        """Write a new version with ``facts`` in its model.json and return its name; ``current`` stays."""
        now = now or datetime.now(UTC)
        self.root.mkdir(parents=True, exist_ok=True)
        version = self._next_version(now)
        fresh = self.root / f".{version}.{os.getpid()}"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        b = model.biases
        users = pa.table({"id": model.user_ids, "bias": b.users})
        titles = pa.table({"id": model.title_ids, "bias": b.titles, "popularity": model.popularity})
        feather.write_feather(users, fresh / "users.arrow", compression="zstd")
        feather.write_feather(titles, fresh / "titles.arrow", compression="zstd")
        for name in _FACTORS:
            factors: Factors = getattr(model, name)
            np.save(fresh / f"{name}-users.npy", factors.users, allow_pickle=False)
            np.save(fresh / f"{name}-titles.npy", factors.titles, allow_pickle=False)
        own = {"version": version, "created_at": now.isoformat(), "mean": b.mean}
        (fresh / "model.json").write_text(json.dumps(own | facts, indent=2) + "\n", "utf-8")
        for path in (*fresh.iterdir(), fresh):
            sync(path)
        fresh.rename(self.root / version)
        sync(self.root)
        return version

    def promote(self, version: str) -> None:
        """Make a version the current one."""
        if version not in self.versions():
            raise ModelError(f"no model version {version!r} in {self.root}; there are {', '.join(self.versions())}")
        write_text(self.root / "current", version + "\n")

    def facts(self, version: str) -> dict[str, Any]:
        """Return a version's model.json."""
        try:
            facts: dict[str, Any] = json.loads((self.root / version / "model.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"model version {version!r} in {self.root} cannot be read: {error}") from None
        return facts

    def load(self, version: str | None = None) -> Model:
        """Read a version, by default the current one. Raises `ModelError` where it is missing or damaged."""
        version = version or self.current()
        if version is None:
            raise ModelError(f"no model in {self.root} yet; `nextreel train` makes one")
        facts, folder = self.facts(version), self.root / version
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
            raise ModelError(f"model version {version!r} in {self.root} is damaged: {error}") from None

    def _next_version(self, now: datetime) -> str:
        stem = now.astimezone(UTC).strftime("%Y%m%dT%H%M%S")
        taken = {v for v in self.versions() if v.startswith(stem)}
        return next(v for v in (f"{stem}-{i:03d}" for i in range(1000)) if v not in taken)


def _array(path: Path) -> Floats:
    """Read one array. Not `np.load`: that also opens zip files and raises `EOFError` for an empty file."""
    with path.open("rb") as file:
        found: Floats = np.lib.format.read_array(file, allow_pickle=False)
    return found
