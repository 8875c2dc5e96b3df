"""The house's rules: rooms import only rooms further up, Spark lives in four of them and its workers, no circles."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import nextreel

PACKAGE = Path(nextreel.__file__).parent

#: The rooms in the order in which the data flows; what comes in one line may use each other.
ORDER = (
    ("errors", "durable", "locks", "processes"),
    ("account", "java", "scratch", "settings"),
    ("events",),
    ("files",),
    ("kafka",),
    ("lake",),
    ("ingest",),
    ("ratings",),
    ("model",),
    ("train",),
    ("serve",),
    ("insight",),
    ("feed", "demo", "summary", "status", "five_vs", "pipeline", "publish", "app", "up", "cli", "workers", "__main__"),
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
WITH_SPARK = {"lake", "ingest", "ratings", "train", "workers"}

FILES = {
    ".".join(("nextreel", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
MODULES = sorted(FILES.keys() - {"nextreel"})


def imported(module: str, at_import_only: bool = False) -> set[str]:
    """Return the modules that a module imports, those inside functions included."""
    tree = ast.parse(FILES[module].read_text("utf-8"))
    return {name for node in _nodes(tree, at_import_only) for name in _names(module, node)}


def _nodes(tree: ast.AST, at_import_only: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not (at_import_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            yield node
            yield from _nodes(node, at_import_only)


def _names(module: str, node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{module}: imports are absolute"
        source = node.module or ""
        for alias in node.names:
            inner = f"{source}.{alias.name}"
            yield inner if inner in FILES else source


def room(module: str) -> str:
    return module.split(".")[1]


def test_every_room_has_its_place() -> None:
    assert {room(m) for m in MODULES} - LEVEL.keys() == set()


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_only_rooms_further_up(module: str) -> None:
    rooms = {room(name) for name in imported(module) if name.startswith("nextreel.")} - {room(module)}
    top = LEVEL[room(module)] == len(ORDER) - 1
    allowed = {r for r, level in LEVEL.items() if level < LEVEL[room(module)] or (top and r in ORDER[-1])}
    assert rooms - allowed == set(), f"{module} may import {sorted(allowed)}"


@pytest.mark.parametrize("module", [m for m in MODULES if LEVEL[room(m)] < len(ORDER) - 1])
def test_spark_is_imported_in_its_four_rooms_only(module: str) -> None:
    with_spark = {name for name in imported(module) if name.split(".")[0] in ("pyspark", "py4j")}
    assert not with_spark or room(module) in WITH_SPARK


def test_no_module_imports_itself_through_others() -> None:
    inner = {m: {n for n in imported(m, at_import_only=True) if n in FILES and n != m} for m in FILES}
    list(TopologicalSorter(inner).static_order())  # raises CycleError, which names the circle


LIGHT = [
    m for m in MODULES if room(m) in {"errors", "java", "settings", "events", "kafka", "model", "serve", "insight"}
]


def test_what_serves_and_looks_starts_without_spark() -> None:
    light = [*LIGHT, "nextreel.ratings.affinity", "nextreel.ratings.candidates", "nextreel.lake.layout", "nextreel.cli"]
    light += ["nextreel.lake.quarantine_file", "nextreel.ingest.replay"]
    code = f"""
import importlib, sys
for module in {light!r}:
    importlib.import_module(module)
    if "pyspark" in sys.modules or "py4j" in sys.modules:
        sys.exit(module + " has brought Spark in")
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_what_run_loads_before_anything_is_installed_is_standard_library() -> None:
    known = "{'__main__', *sys.stdlib_module_names}"
    code = f"import nextreel.java, sys; print(*{{m.split('.')[0] for m in sys.modules}} - {known})"
    answer = subprocess.run(
        [sys.executable, "-S", "-I", "-c", f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); {code}"],
        capture_output=True,
        text=True,
    )
    assert (answer.stdout.split(), answer.stderr) == (["nextreel"], "")
