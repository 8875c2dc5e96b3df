"""The Power BI project: the schemas hold, every name is there, and what is broken is noticed."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from click.testing import CliRunner

from nextreel.cli.main import main
from nextreel.errors import SettingsError
from nextreel.insight.metrics import METRICS
from nextreel.insight.powerbi import project_files, read_project, write_project
from nextreel.insight.powerbi_check import problems
from nextreel.insight.star import STAR
from nextreel.insight.views import VIEWS

DATA = r"C:\nextreel\exports\star"
FILES = project_files(DATA)
PREFIX = "https://developer.microsoft.com/json-schemas/fabric/"
SCHEMAS = Path(__file__).parents[3] / "shared" / "powerbi-schemas" / "fabric"


def changed(path: str, old: str, new: str) -> dict[str, str]:
    """Return the project with one change; ``path`` is how a file's ends."""
    (name,) = (name for name in FILES if name.endswith(path))
    assert old in FILES[name], f"{old} is not in {name}"
    return FILES | {name: FILES[name].replace(old, new, 1)}


def test_all_is_well() -> None:
    assert problems(FILES) == []


def test_every_metric_is_a_measure_and_every_column_is_there() -> None:
    tables = {table.name: FILES[f"nextreel.SemanticModel/definition/tables/{table.name}.tmdl"] for table in STAR}
    measures = re.findall(r"^\tmeasure ('.*?'|\w+) = ", "\n".join(tables.values()), re.MULTILINE)
    assert sorted(name.strip("'") for name in measures) == sorted(metric.title for metric in METRICS)
    for table in STAR:
        assert re.findall(r"^\tcolumn (\w+)$", tables[table.name], re.MULTILINE) == [c.name for c in table.columns]
        assert table.doc in tables[table.name]


def test_every_view_is_a_page_and_every_chart_a_visual() -> None:
    pages = [json.loads(text) for path, text in FILES.items() if path.endswith("/page.json")]
    assert sorted(page["displayName"] for page in pages) == sorted(view.title for view in VIEWS)
    titles = {
        visual["visual"]["visualContainerObjects"]["title"][0]["properties"]["text"]["expr"]["Literal"]["Value"]
        for path, text in FILES.items()
        if path.endswith("/visual.json") and "visualContainerObjects" in (visual := json.loads(text))["visual"]
    }
    charts = [chart for view in VIEWS for chart in view.charts if chart.kind != "figure"]
    assert {f"'{chart.title}'" for chart in charts} <= titles
    assert {"'User'", "'Genre'", "'Rating'", "'Type'"} <= titles  # slicers


def test_visuals_do_not_lie_on_each_other() -> None:
    for page in {path.rsplit("/visuals/", 1)[0] for path in FILES if "/visuals/" in path}:
        places = [json.loads(text)["position"] for path, text in FILES.items() if path.startswith(f"{page}/visuals/")]
        size = json.loads(FILES[f"{page}/page.json"])
        for n, a in enumerate(places):
            assert a["x"] + a["width"] <= size["width"]
            assert a["y"] + a["height"] <= size["height"]
            for b in places[n + 1 :]:
                apart = (
                    a["x"] + a["width"] <= b["x"]
                    or b["x"] + b["width"] <= a["x"]
                    or a["y"] + a["height"] <= b["y"]
                    or b["y"] + b["height"] <= a["y"]
                )
                assert apart


def test_files_keep_to_microsofts_schemas() -> None:
    if not SCHEMAS.is_dir():
        pytest.skip("no shared/powerbi-schemas beside the repository: the schemas are not held against")
    schemas = {
        PREFIX + path.relative_to(SCHEMAS).as_posix(): json.loads(path.read_text("utf-8"))
        for path in SCHEMAS.rglob("*.json")
    }
    registry = jsonschema_rs.Registry(list(schemas.items()), draft=jsonschema_rs.Draft7)
    checked = 0
    for path, text in FILES.items():
        if not path.endswith(".tmdl"):
            content = json.loads(text)
            schema = schemas[content["$schema"]]
            found = jsonschema_rs.Draft7Validator(schema, registry=registry).iter_errors(content)
            assert [(path, error.message) for error in found] == []
            checked += 1
    assert checked == len(FILES) - len(STAR) - 4


BROKEN: dict[str, tuple[Callable[[], dict[str, str]], str]] = {
    "a missing measure": (
        lambda: changed("tables/fact_rating.tmdl", "measure 'Mean rating' =", "measure 'Mean stars' ="),
        "there is no measure fact_rating[Mean rating]",
    ),
    "a measure of a missing measure": (
        lambda: changed("tables/dim_title.tmdl", "measure Titles =", "measure Everything ="),
        "measure 'Coverage': there is no measure [Titles]",
    ),
    "a measure over a missing column": (
        lambda: changed("fact_rating.tmdl", "AVERAGE(fact_rating[rating])", "AVERAGE(fact_rating[stars])"),
        "there is no column fact_rating[stars]",
    ),
    "a missing column": (
        lambda: changed("tables/dim_title.tmdl", "column decade\n", "column age\n"),
        "there is no column dim_title[decade]",
    ),
    "a bad relationship": (
        lambda: changed("relationships.tmdl", "toColumn: dim_user.user_id", "toColumn: dim_user.id"),
        "there is no column dim_user.id",
    ),
    "a table that is not named": (
        lambda: changed("model.tmdl", "ref table dim_date\n", ""),
        "model.tmdl does not name table dim_date",
    ),
    "a bad hierarchy": (
        lambda: changed("dim_date.tmdl", "\t\t\tcolumn: month", "\t\t\tcolumn: week"),
        "there is no column week",
    ),
    "a bad order": (
        lambda: changed("dim_date.tmdl", "sortByColumn: weekday", "sortByColumn: day"),
        "there is no column day",
    ),
    "a wrong id": (
        lambda: changed("pages/pages.json", '"activePageName": "', '"activePageName": "x'),
        "there is no page x",
    ),
    "two measures of one name": (
        lambda: changed("fact_interaction.tmdl", "measure Plays =", "measure Skips ="),
        "there are several measures 'Skips'",
    ),
    "a byte order mark": (
        lambda: changed("database.tmdl", "database\n", "\ufeffdatabase\n"),
        "byte order mark",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_noticed(what: str) -> None:
    make, says = BROKEN[what]
    found = problems(make())
    assert any(says in problem for problem in found), found


VISUALS = [path for path in FILES if path.endswith("/visual.json") and '"Measure"' in FILES[path]]


@pytest.mark.parametrize("path", VISUALS)
def test_a_visual_that_names_what_there_is_not_is_noticed(path: str) -> None:
    content: Any = json.loads(FILES[path])
    text = json.dumps(content)
    for old in set(re.findall(r'"Property": "([^"]+)"', text)):
        assert problems(FILES | {path: text.replace(f'"Property": "{old}"', f'"Property": "{old}x"')})
    assert problems(FILES | {path: text.replace(content["name"], "other")})
    assert problems(FILES | {path: text.replace('"queryRef": "', '"queryRef": "x')})


def test_it_is_the_same_every_time_and_what_is_old_goes(tmp_path: Path) -> None:
    assert project_files(DATA) == FILES
    assert write_project(tmp_path, DATA) == tmp_path / "nextreel.pbip"
    assert read_project(tmp_path) == FILES
    old = tmp_path / "nextreel.Report" / "definition" / "pages" / "old" / "page.json"
    old.parent.mkdir()
    old.write_text("{}")
    ours = tmp_path / "nextreel.files.json"
    digest = hashlib.sha256(b"{}").hexdigest()
    ours.write_text(json.dumps(json.loads(ours.read_text()) | {old.relative_to(tmp_path).as_posix(): digest}))
    write_project(tmp_path, DATA)
    assert read_project(tmp_path) == FILES
    assert all(b"\r" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (r"C:\data\star", r'"C:\data\star\" meta'),
        ("C:\\data\\star\\", r'"C:\data\star\" meta'),
        ("/home/me/star", '"/home/me/star/" meta'),
        ('/odd "name"', '"/odd ""name""/" meta'),
        ("/odd#(lf)name", '"/odd#(#)(lf)name/" meta'),
    ],
)
def test_the_folder_of_the_data_is_a_parameter(data: str, said: str) -> None:
    assert said in project_files(data)["nextreel.SemanticModel/definition/expressions.tmdl"]


def test_what_others_put_there_stays(tmp_path: Path) -> None:
    write_project(tmp_path, DATA)
    page = tmp_path / "nextreel.Report" / "definition" / "pages" / "mine" / "page.json"
    cache = tmp_path / "nextreel.SemanticModel" / ".pbi" / "cache.abf"
    for own in (page, cache):
        own.parent.mkdir()
        own.write_bytes(b"\xff\xfe{}" if own is cache else b"{}")
    write_project(tmp_path, "/elsewhere")
    assert page.read_text() == "{}"
    assert read_project(tmp_path).keys() - FILES.keys() == {page.relative_to(tmp_path).as_posix()}


@pytest.mark.parametrize("is_ours", [True, False])
def test_what_was_changed_is_not_lost(tmp_path: Path, is_ours: bool) -> None:
    if is_ours:
        write_project(tmp_path, DATA)
    (tmp_path / "nextreel.pbip").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(SettingsError, match=r"nextreel\.pbip would be lost"):
        write_project(tmp_path, "/elsewhere")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    write_project(tmp_path, DATA, overwrite=True)
    assert read_project(tmp_path) == FILES


def test_what_cannot_be_written_whole_is_not_begun(tmp_path: Path) -> None:
    (tmp_path / "nextreel.Report").touch()
    with pytest.raises(SettingsError, match="in the way"):
        write_project(tmp_path, DATA)
    assert [path.name for path in tmp_path.iterdir()] == ["nextreel.Report"]


@pytest.mark.parametrize("data", ["", " ", "a\nb", "a\tb"])
def test_data_must_be_a_folder(tmp_path: Path, data: str) -> None:
    with pytest.raises(SettingsError, match="must be a path"):
        write_project(tmp_path, data)


def test_a_model_that_is_no_text_is_said(tmp_path: Path) -> None:
    write_project(tmp_path, DATA)
    (tmp_path / "nextreel.SemanticModel" / "definition" / "model.tmdl").write_bytes(b"model \xff")
    with pytest.raises(SettingsError, match="no text in UTF-8"):
        read_project(tmp_path)


def test_the_command(tmp_path: Path) -> None:
    run = CliRunner()
    found = run.invoke(main, ["--set", f"home={tmp_path}", "powerbi", "--output", str(tmp_path / "p")])
    assert (found.exit_code, found.output) == (0, f"{tmp_path / 'p' / 'nextreel.pbip'}\n")
    expressions = (tmp_path / "p" / "nextreel.SemanticModel" / "definition" / "expressions.tmdl").read_text()
    assert f'"{tmp_path}/exports/star/"' in expressions
    assert run.invoke(main, ["powerbi", "--check", "--output", str(tmp_path / "p")]).exit_code == 0
    model = tmp_path / "p" / "nextreel.SemanticModel" / "definition" / "model.tmdl"
    model.write_text(model.read_text().replace("ref table dim_date\n", ""))
    broken = run.invoke(main, ["powerbi", "--check", "--output", str(tmp_path / "p")])
    assert broken.exit_code == 1
    assert "dim_date" in broken.stderr
    nothing = run.invoke(main, ["powerbi", "--check", "--output", str(tmp_path / "none")])
    assert nothing.exit_code != 0


def test_the_committed_project_is_the_generated_one() -> None:
    assert read_project(Path(__file__).parents[2] / "powerbi") == FILES
