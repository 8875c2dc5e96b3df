"""The notebooks run from top to bottom, alone and one after the other, and are saved as they ran."""

import csv
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import nbformat
import pyarrow.dataset as ds
import pytest

from nextreel.lake.layout import SCHEMAS, Lake
from nextreel.model.store import ModelStore
from nextreel.settings import Settings, load

FOLDER = Path(__file__).parents[1] / "notebooks"
ORDER = (
    "kafka_producer-a",
    "kafka_producer-b",
    "kafka_producer-c",
    "structured_streaming_kafka",
    "recommendation_model",
    "explore_lake_and_factors",
)
#: What `beginning.COUNTS` says, and three broken messages a topic.
ROWS = {"users": 440, "movies": 165, "series": 85, "interactions": 12_000, "quarantine": 12}
MOST_BYTES = 150_000

#: Paths of a machine, and addresses that change from run to run.
PATHS = re.compile(r"(?<![\w.…])/(home|root|tmp|work|Users|usr|opt|var|private|mnt)/|0x[0-9a-f]{8,}|127\.0\.0\.1:\d+")


@pytest.fixture
def environment(bootstrap: str, tmp_path: Path) -> dict[str, str]:
    """What notebooks see: a broker, topics of the test's own, a home that does not exist yet, and nothing else set."""
    run = uuid4().hex[:8]
    topics = {f"NEXTREEL_KAFKA_{t}": f"{t.lower()}-{run}" for t in ("USERS", "MOVIES", "SERIES", "INTERACTIONS")}
    others = {name: value for name, value in os.environ.items() if not name.startswith("NEXTREEL_")}
    return others | topics | {"NEXTREEL_KAFKA_BOOTSTRAP": bootstrap, "NEXTREEL_HOME": str(tmp_path / "home")}


def run(environment: dict[str, str], output: Path, *names: str) -> Settings:
    """Execute notebooks, which must not fail, and save them elsewhere; returns the settings they had."""
    command = [sys.executable, str(FOLDER / "execute.py"), "--output", str(output), *names]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert ran.stdout.split() == list(names or ORDER)
    return load(environ={n: v for n, v in environment.items() if n.startswith("NEXTREEL_")})


def rows_in(lake: Lake) -> dict[str, int]:
    return {table: ds.dataset(lake.files(table)).count_rows() for table in SCHEMAS}


def check_recommendations(settings: Settings) -> None:
    """Assert that everybody is recommended ten distinct titles that the lake knows, ranks in order."""
    with (settings.exports / "final_recommendations.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lists: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        lists.setdefault(row["user_id"], []).append(row)
    lake = Lake(settings.lake)
    files = [*lake.files("movies"), *lake.files("series")]
    known = set(ds.dataset(files).to_table(columns=["id"])["id"].to_pylist())
    assert len(lists) == 400
    for found in lists.values():
        assert [int(row["rank"]) for row in found] == list(range(1, 11))
        ids = {row["content_id"] for row in found}
        assert len(ids) == 10
        assert ids <= known
        assert all(0.5 <= float(row["predicted_rating"]) <= 5 for row in found)


def text_of(path: Path) -> Iterator[str]:
    """Yield a notebook's sources, and its outputs as text."""
    for cell in nbformat.read(path, as_version=4).cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield from (text for kind, text in output.get("data", {}).items() if kind != "image/png")


@pytest.mark.slow
def test_they_build_upon_each_other(environment: dict[str, str], tmp_path: Path) -> None:
    settings = run(environment, tmp_path / "out")
    assert rows_in(Lake(settings.lake)) == ROWS
    store = ModelStore(settings.models)
    assert store.versions() == [store.current()]
    check_recommendations(settings)
    for name in ORDER:
        fresh, saved = (folder / f"{name}.ipynb" for folder in (tmp_path / "out", FOLDER))
        sources = [[cell.source for cell in nbformat.read(path, as_version=4).cells] for path in (fresh, saved)]
        assert sources[0] == sources[1]
        check_saved(fresh)


@pytest.mark.slow
def test_one_alone_makes_what_is_missing(environment: dict[str, str], tmp_path: Path) -> None:
    settings = run(environment, tmp_path / "out", "recommendation_model")
    assert rows_in(Lake(settings.lake)) == ROWS
    check_recommendations(settings)


def check_saved(path: Path) -> None:
    """Assert that a saved notebook was executed without an error and tells nothing of the machine that did it."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < MOST_BYTES
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert dict(notebook.metadata.language_info) == {"name": "python"}
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert [cell.metadata for cell in notebook.cells if cell.metadata] == []
    outputs = [output for cell in code for output in cell.outputs]
    assert len(outputs) >= 6
    assert {output.output_type for output in outputs} <= {"stream", "execute_result", "display_data"}
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert [found.group() for text in text_of(path) for found in PATHS.finditer(text)] == []


def test_all_of_them_are_known() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_saved_notebook_has_its_outputs_and_nothing_of_a_machine(name: str) -> None:
    check_saved(FOLDER / f"{name}.ipynb")


@pytest.mark.parametrize("name", ["structured_streaming_kafka", "recommendation_model", "explore_lake_and_factors"])
def test_saved_notebook_has_pictures(name: str) -> None:
    cells = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", []))


def test_their_code_is_formatted_and_checked() -> None:
    for check in (["format", "--check"], ["check"]):
        found = subprocess.run(
            [sys.executable, "-m", "ruff", *check, "--no-cache", "notebooks"],
            cwd=FOLDER.parent, capture_output=True, text=True,
        )  # fmt: skip
        assert found.returncode == 0, found.stdout
