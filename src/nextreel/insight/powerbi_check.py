"""What is wrong with a Power BI project that no schema notices: names that there are not.

Every visual, filter, relationship, hierarchy and measure must name tables, columns and measures of the model; files and
identifiers must be where they say they are.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_DEFINED = re.compile(r"^\t(column|measure) ('(?:[^']|'')+'|\S+)(?: = (.*))?$")
_REFERENCE = re.compile(r"(?:(\w+)|'((?:[^']|'')+)')?\[([^\]]+)\]")
_IDENTIFIER = re.compile(r"[\w-]+")


@dataclass
class _Model:
    """The names of a semantic model: columns and measures by table, and what measures compute."""

    columns: dict[str, set[str]] = field(default_factory=dict)
    measures: dict[str, dict[str, str]] = field(default_factory=dict)
    n_measures: Counter[str] = field(default_factory=Counter)


def problems(files: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a project of some files (path: text), nothing where all is well."""
    model = _read(files)
    found = [*_of_model(files, model), *_of_report(files, model)]
    return sorted(found)


def _read(files: Mapping[str, str]) -> _Model:
    model = _Model()
    for path, text in files.items():
        if "/definition/tables/" not in path:
            continue
        name = path.rsplit("/", 1)[1].removesuffix(".tmdl")
        model.columns[name], model.measures[name] = set(), {}
        for line in text.splitlines():
            if (match := _DEFINED.match(line)) is not None:
                kind, said, dax = match.groups()
                plain = said[1:-1].replace("''", "'") if said.startswith("'") else said
                if kind == "column":
                    model.columns[name].add(plain)
                else:
                    model.measures[name][plain] = dax or ""
                    model.n_measures[plain] += 1
    return model


def _of_model(files: Mapping[str, str], model: _Model) -> Iterator[str]:
    yield from (f"there are several measures {name!r}" for name, n in model.n_measures.items() if n > 1)
    for table, measures in model.measures.items():
        for name, dax in measures.items():
            if name in model.columns[table]:
                yield f"{table} has a column and a measure {name!r}"
            yield from (f"measure {name!r}: {wrong}" for wrong in _of_dax(dax, model, set(model.n_measures)))
    for path, text in files.items():
        if not path.endswith(".tmdl"):
            continue
        for line in text.splitlines():
            said, _, value = line.strip().partition(": ")
            if said in ("fromColumn", "toColumn"):
                table, _, column = value.partition(".")
                if column not in model.columns.get(table, ()):
                    yield f"{path}: there is no column {value}"
            own = path.rsplit("/", 1)[1].removesuffix(".tmdl")
            if (
                line.startswith("\t\t")
                and said in ("column", "sortByColumn")
                and value not in model.columns.get(own, ())
            ):
                yield f"{path}: there is no column {value}"
            if line.startswith("ref table ") and line.removeprefix("ref table ") not in model.columns:
                yield f"{path}: there is no {line.removeprefix('ref ')}"
        if "\r" in text or text.startswith("\ufeff"):
            yield f"{path}: carriage returns or a byte order mark"
    listed = set(re.findall(r"^ref table (\w+)$", "\n".join(files.values()), re.MULTILINE))
    yield from (f"model.tmdl does not name table {table}" for table in model.columns if table not in listed)


def _of_dax(dax: str, model: _Model, measures: set[str]) -> Iterator[str]:
    made = set(re.findall(r'"(\w+)", ', dax))  # columns that the measure makes itself
    for plain, quoted, name in _REFERENCE.findall(dax):
        table = plain or quoted
        if table and name not in model.columns.get(table, ()):
            yield f"there is no column {table}[{name}]"
        elif not table and name not in measures | made:
            yield f"there is no measure [{name}]"
    for table in re.findall(r"(?:COUNTROWS|SUMMARIZE|SUMX)\((\w+)", dax):
        if table not in model.columns and f"VAR {table} " not in dax:
            yield f"there is no table {table}"


def _of_report(files: Mapping[str, str], model: _Model) -> Iterator[str]:
    pages = {}
    seen: Counter[str] = Counter()
    for path, text in files.items():
        if not path.endswith(".json"):
            continue
        content = json.loads(text)
        if path.endswith("pages/pages.json"):
            pages = content
        if path.endswith(("/page.json", "/visual.json")):
            folder, name = path.rsplit("/", 2)[1], content["name"]
            seen[name] += 1
            if folder != name or not _IDENTIFIER.fullmatch(name):
                yield f"{path}: the name {name!r} is not that of its folder"
        yield from (f"{path}: {wrong}" for wrong in _of_fields(content, model))
    yield from (f"two things are named {name}" for name, n in seen.items() if n > 1)
    there = {path.rsplit("/", 2)[1] for path in files if path.endswith("/page.json")}
    yield from (f"there is no page {name}" for name in set(pages.get("pageOrder", ())) ^ there)
    if pages.get("activePageName") not in there:
        yield f"there is no page {pages.get('activePageName')}"


def _of_fields(content: Any, model: _Model, names: Mapping[str, str] | None = None) -> Iterator[str]:
    """Find every field that is named anywhere in a file; within a filter sources have ``names`` of its own."""
    if isinstance(content, list):
        for part in content:
            yield from _of_fields(part, model, names)
    if not isinstance(content, dict):
        return
    if "From" in content:
        names = {source["Name"]: source["Entity"] for source in content["From"] if "Entity" in source}
    for kind, known in (("Column", model.columns), ("Measure", model.measures)):
        said = content.get(kind)
        if isinstance(said, dict) and "Property" in said:
            source = said["Expression"]["SourceRef"]
            entity = source.get("Entity") or (names or {}).get(source.get("Source", ""), "")
            if said["Property"] not in known.get(entity, ()):
                yield f"there is no {kind.lower()} {entity}[{said['Property']}]"
    if "field" in content and "queryRef" in content:
        ((_, said),) = content["field"].items()
        wanted = f"{said['Expression']['SourceRef'].get('Entity')}.{said['Property']}"
        if content["queryRef"] != wanted or content.get("nativeQueryRef") != said["Property"]:
            yield f"queryRef {content['queryRef']!r} is not {wanted!r}"
    for part in content.values():
        yield from _of_fields(part, model, names)
