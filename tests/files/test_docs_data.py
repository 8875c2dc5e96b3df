"""docs/data.md's examples work: each file of ``csv`` with its ``toml`` is read whole."""

import re
import tomllib
from pathlib import Path

import pytest
from tests.files.reading import read_file

from nextreel.files.mapping import Kind

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text("utf-8")
EXAMPLES = re.findall(r"```csv\n(.*?)```\n```toml\n(.*?)```", PAGE, re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == PAGE.count("```toml") == 6


@pytest.mark.parametrize(("text", "mapping"), EXAMPLES)
def test_an_example_is_read_whole(tmp_path: Path, text: str, mapping: str) -> None:
    path = tmp_path / "example.csv"
    path.write_text(text, "utf-8")
    rules = tomllib.loads(mapping)
    kind: Kind = "catalogue" if "id" in rules["columns"] else "interactions"
    events, read, _ = read_file(path, kind, rules)
    assert (len(events), len(read.refused), read.left_out) == (read.rows, 0, {})
    assert events
