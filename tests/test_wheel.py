"""The wheel: what is in it, and that it does by itself what the clone does."""

import csv
import email
import os
import site
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path, PureWindowsPath

import pytest

from nextreel import __version__

pytest.importorskip("setuptools", "77", reason="the wheel's builder is not installed")

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "nextreel"
DIST_INFO = f"nextreel-{__version__}.dist-info"
#: A path of the lake from its home may be so long, for what Windows takes (260) to leave room for the home.
_LONGEST = 160
#: How well it recommends is others' to test.
_SMALL = {"NEXTREEL_TRAIN_FACTORS": "16", "NEXTREEL_TRAIN_ITERATIONS": "5", "NEXTREEL_EVALUATION_RESAMPLES": "100"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without network from a copy of the source tree, which building leaves things in."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for path in PACKAGE.rglob("*"):
        if path.is_file():  # what a developer's tree has besides, too
            copy = source / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*command, "-w", out, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, and with the dependencies of this one; src is not on its path."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    command = [sys.executable, "-m", "pip", "--python", str(folder), "install", "--quiet", "--no-index", "--no-deps"]
    done = subprocess.run([*command, str(wheel)], capture_output=True, text=True, env=_environment())
    assert done.returncode == 0, done.stderr
    (libraries,) = {*folder.glob("lib/python3*/site-packages"), *folder.glob("Lib/site-packages")}
    ours = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (libraries / "dependencies.pth").write_text("\n".join(ours), "locale")  # .pth files in there are not read
    if (kept := Path(sys.prefix, "spark")).exists():  # Spark's classes, which would take half a minute to write again
        (folder / "spark").symlink_to(kept)
    return folder / ("Scripts" if sys.platform == "win32" else "bin")


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "NEXTREEL_"))}


def _files() -> set[str]:
    found = (path.relative_to(ROOT / "src") for path in PACKAGE.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts}


@pytest.mark.slow
def test_it_has_the_whole_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names))
    assert {name for name in names if not name.startswith(DIST_INFO)} == _files()
    assert {"nextreel/py.typed", "nextreel/insight/static/vendor/echarts.min.js"} <= set(names)
    vendor = "src/nextreel/insight/static/vendor"
    licences = {"LICENSE", *(f"{vendor}/echarts.{name}" for name in ("LICENSE", "LICENSE-d3", "NOTICE"))}
    assert {name for name in names if "/licenses/" in name} == {f"{DIST_INFO}/licenses/{name}" for name in licences}


@pytest.mark.slow
def test_its_metadata_are_complete(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        said = email.message_from_bytes(content.read(f"{DIST_INFO}/METADATA"))
        commands = content.read(f"{DIST_INFO}/entry_points.txt").decode("utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (said["Name"], said["Version"], said["Requires-Python"]) == ("nextreel", __version__, ">=3.11")
    assert said["License-Expression"] == "Apache-2.0 AND BSD-3-Clause"
    assert said["Summary"] == project["description"]
    assert said["Description-Content-Type"] == "text/markdown"
    assert said["Keywords"].split(",") == project["keywords"]
    assert said.get_all("Classifier") == project["classifiers"]
    assert set(said.get_all("Provides-Extra") or ()) == {*project["optional-dependencies"]}
    assert "nextreel = nextreel.__main__:main" in commands


@pytest.mark.slow
def test_it_runs_from_an_empty_directory(installed: Path, tmp_path: Path) -> None:
    def said(*arguments: str, command: str = "nextreel", **environment: str) -> str:
        done = subprocess.run(
            [installed / command, *arguments],
            capture_output=True,
            encoding="utf-8",
            cwd=tmp_path,
            env=_environment() | environment,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = Path(said("-c", "import nextreel; print(nextreel.__file__)", command="python").strip())
    assert where.is_relative_to(installed.parent)
    assert said("--version") == f"nextreel, version {__version__}\n"
    assert "Streaming recommendations" in said("--help")
    assert '"bootstrap"' in said("settings")
    assert list(tmp_path.iterdir()) == []
    assert "recommendations for" in said("demo", "--once", **_SMALL)
    with (tmp_path / "nextreel-data/demo/exports/final_recommendations.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"user_id", "rank", "content_id", "predicted_rating"} <= rows[0].keys()
    said("powerbi")
    names = [path.relative_to(tmp_path) for path in tmp_path.rglob("*")]
    assert [name for name in names if not _is_legal(name)] == []
    assert max(len(str(name)) for name in names) < _LONGEST


def _is_legal(path: Path) -> bool:
    """Tell whether Windows knows such names."""
    return not any(
        set(part) & set('<>:"/\\|?*') or part.endswith((".", " ")) or PureWindowsPath(part).is_reserved()
        for part in path.parts
    )
