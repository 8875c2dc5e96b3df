"""Model versions on disk.

    <models>/<version>/         a version (`nextreel.model.version`)
    <models>/current            the name of one version
    <models>/decisions.jsonl    which versions became current, which were refused, and why
    <models>/.<version>.…       a version that is being written or removed, or what a kill has left of it

A version is written beside its place and moved there whole, and moved away before it is removed; ``current`` is
replaced atomically, and only by a version that can be read. A kill at any moment leaves the old current or the new one.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from nextreel.durable import sync, write_text
from nextreel.errors import ModelError
from nextreel.locks import HAS_LOCKS, changing, in_use, unused
from nextreel.model import journal
from nextreel.model.journal import Decision, Deed, Verdict
from nextreel.model.model import Model
from nextreel.model.snapshot import Snapshot, is_snapshot, read_snapshot
from nextreel.model.version import FACTS, Facts, read_facts, read_model, write_version

_VERSION = re.compile(r"\d{8}T\d{6}-\d{3}")
_LEFTOVER = re.compile(rf"\.{_VERSION.pattern}\..+")


@dataclass(frozen=True)
class Pruned:
    """What was removed: versions, and what interrupted processes had left. Versions ``in_use`` were left alone."""

    removed: list[str]
    leftovers: list[str]
    in_use: list[str]


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
        said = pointer.read_text("utf-8", "replace").strip() if pointer.exists() else ""
        return said if _VERSION.fullmatch(said) else None

    def current_since(self) -> float | None:
        """Return when the current version became so, in seconds since 1970; None where there is none."""
        try:
            return (self.root / "current").stat().st_mtime
        except OSError:
            return None

    def previous(self) -> str | None:
        """Return what a rollback makes current: the last version before the current one that is still there."""
        current, there = self.current(), self.versions()
        past = journal.history(self.decisions(), current)
        return next((v for v in reversed(past) if v in there and v != current), None)

    def decisions(self) -> list[Decision]:
        """Return what was decided about versions and took effect, the oldest decision first."""
        return journal.happened(journal.read(self.root / "decisions.jsonl"), self.current())

    def save(self, model: Model, facts: Facts, now: datetime | None = None, snapshot: Snapshot | None = None) -> str:
        """Write a new version with ``facts`` in its model.json and return its name; ``current`` stays.

        Without a ``snapshot`` it recommends, but cannot be served.
        """
        now = now or datetime.now(UTC)
        self.root.mkdir(parents=True, exist_ok=True)
        with self._claimed(now) as (version, fresh):
            write_version(fresh, model, {"version": version, "created_at": now.isoformat()} | facts, snapshot)
            with changing(self.root):
                fresh.rename(self.root / version)
                sync(self.root)
        return version

    def decide(self, version: str, judge: Callable[[Facts, Facts | None], Verdict]) -> Verdict:
        """Make a version current if ``judge`` finds it good enough, and record what it found.

        It is asked with the facts of the version and of the current one: None where there is none, or none to be read.
        """
        with changing(self.root):
            verdict = judge(self.facts(version), self._facts_of_current())
            if verdict.promoted:
                self._make_current(version, "promoted", verdict.why)
            else:
                self._record(version, "refused", verdict.why)
        return verdict

    def promote(self, version: str, why: str = "asked for") -> None:
        """Make a version the current one. Raises `ModelError` where there is no such version, or it is damaged."""
        with changing(self.root):
            self._make_current(version, "promoted", why)

    def rollback(self) -> str:
        """Make the version current that was so before, and return it. Another rollback goes one further back."""
        with changing(self.root):
            current, version = self.current(), self.previous()
            if version is None:
                raise ModelError(
                    f"{self.root} knows of no version that was current before {current or 'now'} and is still there; "
                    f"`nextreel models promote VERSION` takes any: {self._there()}"
                )
            self._make_current(version, "rolled back", f"rolled back from {current}")
        return version

    def prune(self, keep: int) -> Pruned:
        """Remove all but the newest ``keep`` versions, the current one and the one before; and what kills have left.

        Nothing that is being read or written is removed. Raises `ModelError` where the system has no file locks.
        """
        if not HAS_LOCKS:
            raise ModelError("versions are removed on POSIX systems alone: this one has no locks for it")
        found = Pruned([], [], [])
        with changing(self.root):
            found.leftovers.extend(self._remove_leftovers())
            versions = self.versions()
            kept = {self.current(), self.previous(), *versions[-keep:]}
            for version in versions:
                if version not in kept:
                    (found.removed if self._remove(version) else found.in_use).append(version)
        return found

    def facts(self, version: str) -> Facts:
        """Return a version's model.json."""
        return read_facts(self.root / version)

    def load(self, version: str | None = None) -> Model:
        """Read a version, by default the current one. Raises `ModelError` where it is missing or damaged.

        A version that is being read is not removed. Where it was just before, what is current now is read.
        """
        wanted = version or self.current()
        if wanted is None:
            raise ModelError(self.no_current())
        try:
            return self._read(wanted)
        except ModelError:
            if version is None and self.current() != wanted:
                return self.load()
            raise

    def load_to_serve(self, version: str) -> tuple[Model, Snapshot, Facts]:
        """Map a version into memory, with its snapshot and its facts. Raises `ModelError` where it has no snapshot.

        What is mapped stays readable even where the version is removed meanwhile (on POSIX).
        """
        folder = self.root / version
        try:
            with in_use(folder / FACTS):
                return read_model(folder, map_factors=True), read_snapshot(folder), read_facts(folder)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ModelError(f"model version {version!r} in {self.root} cannot be served: {error}") from None

    def check(self, version: str) -> None:
        """Raise `ModelError` where there is no such version."""
        if version not in self.versions():
            raise ModelError(f"no model version {version!r} in {self.root}; there are {self._there()}")

    def _read(self, version: str) -> Model:
        folder = self.root / version
        try:
            with in_use(folder / FACTS):
                return read_model(folder)
        except OSError as error:
            raise ModelError(f"model version {version!r} in {self.root} cannot be read: {error}") from None

    def _facts_of_current(self) -> Facts | None:
        current = self.current()
        try:
            return None if current is None else self.facts(current)
        except ModelError:
            return None

    def no_current(self) -> str:
        """Return what to say where no version is current."""
        if versions := self.versions():
            return (
                f"none of the models in {self.root} is current: `nextreel models list` says why; "
                f"`nextreel models promote {versions[-1]}` takes the newest all the same"
            )
        return f"no model in {self.root} yet; `nextreel train` makes one"

    def _there(self) -> str:
        return ", ".join(self.versions()) or "none"

    def _make_current(self, version: str, deed: Deed, why: str) -> None:
        self.check(version)
        self._read(version)
        if is_snapshot(self.root / version):
            _, snapshot, _ = self.load_to_serve(version)
            if snapshot.history.titles.max(initial=-1) >= len(snapshot.titles):
                raise ModelError(f"model version {version!r} in {self.root} is damaged: its history has unknown titles")
        if version != self.current():
            self._record(version, deed, why)
            write_text(self.root / "current", version + "\n")

    def _record(self, version: str, deed: Deed, why: str) -> None:
        decision = Decision(datetime.now(UTC).isoformat(), version, deed, why, self.current())
        journal.append(self.root / "decisions.jsonl", decision)

    @contextmanager
    def _claimed(self, now: datetime) -> Iterator[tuple[str, Path]]:
        """Give a name that nobody else has, and a folder to write to, which is removed where that fails."""
        with ExitStack() as claim:
            with changing(self.root):
                version = self._free_name(now)
                fresh = self.root / f".{version}.{os.getpid()}"
                fresh.mkdir()
                (fresh / FACTS).touch()
                claim.enter_context(in_use(fresh / FACTS))
            try:
                yield version, fresh
            except BaseException:
                shutil.rmtree(fresh, ignore_errors=True)
                raise

    def _free_name(self, now: datetime) -> str:
        stem = now.astimezone(UTC).strftime("%Y%m%dT%H%M%S")
        taken = {found[0] for p in self.root.iterdir() if (found := _VERSION.search(p.name))}
        return next(v for v in (f"{stem}-{i:03d}" for i in range(1000)) if v not in taken)

    def _remove(self, version: str) -> bool:
        """Remove a version unless somebody reads it; tell whether it was removed."""
        folder, away = self.root / version, self.root / f".{version}.removed"
        with unused(folder / FACTS) as free:
            if free:
                folder.rename(away)
                sync(self.root)
        if free:
            shutil.rmtree(away)
        return free

    def _remove_leftovers(self) -> Iterator[str]:
        """Remove what kills have left: it is nobody's, or its ``current`` was being replaced, which is our turn now."""
        for path in sorted(self.root.glob(".*")):
            if path.name.startswith(".current."):
                path.unlink()
                yield path.name
            elif path.is_dir() and _LEFTOVER.fullmatch(path.name):
                with unused(path / FACTS) as free:
                    if free:
                        shutil.rmtree(path)
                        yield path.name
