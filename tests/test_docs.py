"""The documentation is true: generated pages are current, links lead somewhere, commands exist, code runs."""

import importlib
import re
import runpy
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import duckdb
import pyarrow as pa
import pytest
from tests.commands import NOT_RUN, is_variable, keys_of, nextreel_faults, shell_lines, spans, words_of
from tests.test_deploy import COMBINATIONS, services

from nextreel.app import create_app
from nextreel.cli import main
from nextreel.errors import SettingsError
from nextreel.lake import batches
from nextreel.lake.layout import BATCHES_SCHEMA, Lake
from nextreel.settings import load

ROOT = Path(__file__).parents[1]
GENERATED = runpy.run_path(str(ROOT / "docs" / "generate.py"))
PAGES = GENERATED["PAGES"]
FOLDERS = ("docs", "deploy", "notebooks", "powerbi", "requirements", "tests", "benchmarks")
PROSE = [*sorted(ROOT.glob("*.md")), *(page for folder in FOLDERS for page in sorted((ROOT / folder).rglob("*.md")))]
LINES = [(page, line) for page in PROSE for line in shell_lines(page.read_text("utf-8"))]
BLOCK = re.compile(r"(?:^([^\n]*)\n)?^```(sql|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", text, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return set(found)


def link_faults(page: Path) -> Iterator[str]:
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?://|mailto:)([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        if not there.exists():
            yield f"{target}: no such file"
        elif anchor and there.suffix == ".md" and anchor not in anchors(there):
            yield f"{target}: no such heading; there are {sorted(anchors(there))}"


@pytest.mark.parametrize("page", PAGES)
def test_generated_page_is_current(page: str) -> None:
    assert (ROOT / "docs" / page).read_text("utf-8") == PAGES[page](), "run: python docs/generate.py"


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    assert list(link_faults(page)) == []


def test_wrong_links_are_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One *two*, 3\n\n[a](gone.md) [b](#one-two-3) [c](page.md#one) `[d](no)`\n\n## One *two*, 3\n")
    assert [fault.split(":")[0] for fault in link_faults(page)] == ["gone.md", "page.md#one"]
    assert anchors(page) == {"one-two-3", "one-two-3-1"}


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    linked = {(ROOT / "docs" / target).resolve() for target in re.findall(r"\]\(([^)#]+)", index)}
    assert [
        name_of(page) for page in (ROOT / "docs").glob("*.md") if page.name != "README.md" and page not in linked
    ] == []
    assert "docs/README.md" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize(("page", "line"), LINES, ids=lambda v: name_of(v) if isinstance(v, Path) else v)
def test_command_lines_can_be_run(page: Path, line: str) -> None:
    assert list(line_faults(line)) == []


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_commands_in_sentences_exist(page: Path) -> None:
    named = list(spans(page.read_text("utf-8")))
    assert [fault for span in named for fault in nextreel_faults(shlex.split(span), is_whole=False)] == []


def line_faults(line: str) -> Iterator[str]:
    named, words = words_of(line)
    try:
        load({}, named)
    except SettingsError as error:
        yield str(error)
    if words[:2] == ["docker", "compose"]:
        yield from compose_line_faults(words[2:])
    elif words[:1] == ["curl"]:
        yield from curl_faults(words[1:])
    elif words:
        yield from nextreel_faults(words)


def compose_line_faults(words: list[str]) -> Iterator[str]:
    """Yield what is wrong with a command line of Compose in deploy/: its files, its services, nextreel's command."""
    files = [words[place + 1] for place, word in enumerate(words) if word == "-f"]
    if files and files not in COMBINATIONS.values():
        yield f"{files} are no combination that tests know"
        return
    known = services(ROOT / "deploy", files or COMBINATIONS["all"])
    if words[:2] == ["run", "--rm"]:
        if words[2] not in known:
            yield f"no service {words[2]}"
        if words[3:4] == ["nextreel"]:
            yield from nextreel_faults(words[3:])
    if "--scale" in words:
        scaled = words[words.index("--scale") + 1].partition("=")[0]
        if {scaled, words[-1]} - known.keys():
            yield f"no service {scaled} or {words[-1]}"


def curl_faults(words: list[str]) -> Iterator[str]:
    """Yield what is wrong with a request to the server: that it has no such path."""
    paths = routes()
    for word in words:
        found = re.match(r"(?:http://)?127\.0\.0\.1:8000(/[^?]*)?", word)
        path = (found[1] or "/") if found else ""
        if found and not any(re.fullmatch(re.sub(r"{\w+(?::path)?}", "[^/]+", known), path) for known in paths):
            yield f"the server has no {path}"


def routes() -> set[str]:
    app = create_app(load({"home": str(ROOT / "build" / "no-home")}, {}))
    found: set[str] = set()

    def add(of: Any) -> None:
        for route in of:
            if hasattr(route, "path"):
                found.add(route.path)
            add(getattr(getattr(route, "original_router", None), "routes", []))

    add(app.routes)
    return found | set(app.openapi().get("paths", {}))


@pytest.mark.parametrize(
    "line",
    [
        "./run tran",
        "nextreel train --jsonn",
        "./run --set train.factor=3 train",
        "NEXTREEL_SERVE_PRT=3 ./run serve",
        "export NEXTREEL_KAFKA_BOOTSTRP=host:9092",
        "./run bench ingst",
        "./run test tests/ingest/test_gone.py",
        "docker compose run --rm ingst nextreel status",
        "docker compose run --rm ingest nextreel stats",
        "docker compose -f kafka/compose.yml up -d",
        "docker compose up -d --scale worker=4 worker",
        "curl http://127.0.0.1:8000/v1/users/u1/recommended",
    ],
)
def test_wrong_command_lines_are_seen(line: str) -> None:
    assert [line] == list(shell_lines(f"    {line}    # and so on\n"))
    assert list(line_faults(line)) != []


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_settings_that_are_named_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    assert [name for name in re.findall(r"\bNEXTREEL_[A-Z_]+", text) if not is_variable(name)] == []
    known = set(keys_of())
    sections = {key.partition(".")[0] for key in known if "." in key}
    named = re.findall(rf"`((?:{'|'.join(sections)})\.[a-z_.]+?)(?: = [^`]*)?`", text)
    free = ("kafka.client.", "spark.conf.", "ingest.java_client.")
    named = [key for key in named if not key.startswith(free) and not key.endswith((".json", ".log", ".py"))]
    assert [key for key in named if key not in known and not is_module(key)] == []


def is_module(name: str) -> bool:
    """Tell whether a name is that of a part of nextreel, as ``model.solve``."""
    try:
        importlib.import_module(f"nextreel.{name}")
    except ModuleNotFoundError:
        room, _, part = name.rpartition(".")
        return (ROOT / "src/nextreel" / room).is_dir() and hasattr(importlib.import_module(f"nextreel.{room}"), part)
    return True


def blocks() -> Iterator[tuple[str, str, str, str | None]]:
    """Yield the blocks of code: page, language, text, and why one is not run."""
    for page in PROSE:
        for before, language, text in BLOCK.findall(page.read_text("utf-8")):
            why = NOT_RUN.search(before)
            yield name_of(page), language, text, why[1] if why else None


@pytest.fixture
def small_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be where nextreel-data is a home with two micro-batches told of."""
    monkeypatch.chdir(tmp_path)
    at = datetime.now(UTC)
    told = {"batch_id": 0, "query_id": "q", "started_at": at, "committed_at": at, "messages": 60, "seconds": 0.5}
    rows = [told | {"batch_id": n, "stage_seconds": 0.1 * n, "lag_interactions": n} for n in range(2)]
    batches.append(Lake(tmp_path / "nextreel-data" / "lake"), pa.Table.from_pylist(rows, BATCHES_SCHEMA))


@pytest.mark.parametrize(("page", "language", "text", "why"), list(blocks()))
def test_code_runs(page: str, language: str, text: str, why: str | None, small_home: None) -> None:
    if why:
        pytest.skip(f"{page}: {why}")
    if language == "sql":
        with duckdb.connect() as connection:
            assert connection.execute(text).fetchall()
    else:
        exec(compile(text, page, "exec"), {})  # noqa: S102 (it is our own page)


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 200
    assert len((ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines()) < 80


def test_every_command_says_what_it_does() -> None:
    for name, command in main.commands.items():
        assert command.help, name
        for option in command.params:
            assert isinstance(option, click.Argument) or getattr(option, "help", None), f"{name} {option.name}"
