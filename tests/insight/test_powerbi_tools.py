"""What Microsoft's own tools say of the Power BI project: the report authoring CLI and the parser of Power Query."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from nextreel.insight.powerbi import write_project
from nextreel.insight.star import STAR

LOCKED = Path(__file__).with_name("powerbi")
NODE, NPM = shutil.which("node"), shutil.which("npm")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (NODE and NPM), reason="no Node.js is installed: Microsoft's tools do not look at it"),
]


@pytest.fixture(scope="module")
def tools() -> Path:
    """A folder that has the locked tools; they are installed once an environment."""
    place = Path(sys.prefix, f"powerbi-tools-{crc32((LOCKED / 'package-lock.json').read_bytes()):08x}")
    if not place.exists():
        with tempfile.TemporaryDirectory(dir=sys.prefix) as beside:
            fresh = shutil.copytree(LOCKED, Path(beside, "tools"))
            done = run(NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=fresh)
            if done.returncode != 0:
                pytest.skip(f"npm could not install Microsoft's tools: {done.stderr[-300:]}")
            with suppress(OSError):  # another process was faster
                fresh.rename(place)
    return place / "node_modules"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path, r"C:\nextreel\exports\star").parent


def run(*command: Any, **more: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*map(str, command)], check=False, capture_output=True, text=True, **more)


def validated(tools: Path, project: Path) -> dict[str, Any]:
    cli = tools / "@microsoft" / "powerbi-report-authoring-cli" / "dist" / "cli.js"
    done = run(NODE, cli, "validate", project / "nextreel.Report")
    found: dict[str, Any] = json.loads(done.stdout)["data"]
    return found


def parsed(tools: Path, project: Path) -> list[str]:
    tables = project / "nextreel.SemanticModel" / "definition" / "tables"
    done = run(NODE, LOCKED / "parse.cjs", tables, env=os.environ | {"NODE_PATH": str(tools)})
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


def test_the_report_authoring_cli_finds_no_error(tools: Path, project: Path) -> None:
    found = validated(tools, project)
    assert found["errorCount"] == 0
    assert {*found["diagnostics"]} <= {"PBIR_SCHEMA_UNREACHABLE"}  # where it has no way to Microsoft's pages


def test_the_report_authoring_cli_finds_what_is_broken(tools: Path, project: Path) -> None:
    visual = next(path for path in project.rglob("visual.json") if "clusteredBarChart" in path.read_text())
    visual.write_text(visual.read_text().replace('"Category"', '"Kategorie"', 1))
    assert "PBIR_ROLE_UNKNOWN" in validated(tools, project)["diagnostics"]


def test_power_query_reads_every_table(tools: Path, project: Path) -> None:
    assert parsed(tools, project) == sorted(f"{table.name}.tmdl: parsed" for table in STAR)


def test_a_broken_query_is_noticed(tools: Path, project: Path) -> None:
    table = project / "nextreel.SemanticModel" / "definition" / "tables" / "dim_user.tmdl"
    table.write_text(table.read_text().replace("Parquet.Document(", "Parquet.Document(("))
    assert "dim_user.tmdl: parsed" not in parsed(tools, project)
