"""The documentation is true: generated pages are current, links lead somewhere, commands exist."""

import re
import runpy
from pathlib import Path

import click
import pytest

from nextreel.cli import main

ROOT = Path(__file__).parents[1]
PAGES = runpy.run_path(str(ROOT / "docs" / "generate.py"))["PAGES"]
PROSE = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "notebooks" / "README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_generated_page_is_current(page: str) -> None:
    assert (ROOT / "docs" / page).read_text("utf-8") == PAGES[page](), "run: python docs/generate.py"


@pytest.mark.parametrize("page", PROSE, ids=lambda p: p.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PROSE, ids=lambda p: p.name)
def test_commands_exist(page: Path) -> None:
    known = {*main.commands, "test", "check", "bench", "lock", "notebooks"}
    for command in re.findall(
        r"^\s*(?:\$ )?\./run (?:--set \S+ )*([a-z][\w-]*)", page.read_text("utf-8"), re.MULTILINE
    ):
        assert command in known, f"{page.name} names ./run {command}"


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 200


def test_every_command_says_what_it_does() -> None:
    for name, command in main.commands.items():
        assert command.help, name
        for option in command.params:
            assert isinstance(option, click.Argument) or getattr(option, "help", None), f"{name} {option.name}"
