"""The star as files: what the warehouse has, harmless, whole or not at all, and not written again for nothing."""

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from tests.insight.conftest import Open
from tests.insight.filling import Filling, random_world

from nextreel.insight.star import STAR
from nextreel.insight.star_files import ABOUT, write_star
from nextreel.insight.warehouse import Warehouse
from nextreel.settings import Settings, load


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return load({"home": str(tmp_path)}, {})


@pytest.fixture
def filling(home: Settings) -> Filling:
    found = Filling(home.lake)
    random_world(found)
    found.add("movie", "odd", 0.0, titulo="=cmd|' /C calc'!A0")
    found.commit()
    return found


def written(settings: Settings) -> Path:
    with Warehouse(settings) as warehouse:
        warehouse.refresh()
        return write_star(warehouse, settings.exports)


def test_files_have_what_the_warehouse_has(home: Settings, filling: Filling, open_warehouse: Open) -> None:
    warehouse = open_warehouse(home)
    warehouse.refresh()
    folder = write_star(warehouse, home.exports)
    said = json.loads((folder / ABOUT).read_text())
    for table in STAR:
        rows = pq.read_table(folder / f"{table.name}.parquet")
        assert rows.column_names == [column.name for column in table.columns]
        cursor = warehouse.cursor()
        wanted = cursor.execute(f"FROM {table.name}").fetchall()
        assert [tuple(row.values()) for row in rows.to_pylist()] == wanted
        text = pd.read_csv(folder / f"{table.name}.csv", keep_default_na=False, dtype=str)
        assert list(text.columns) == rows.column_names
        assert len(text) == len(wanted) == said["tables"][table.name]["rows"]
        key = [column.name for column in table.columns if column.key]
        if table.name.startswith("dim_"):
            assert not rows.to_pandas().duplicated(key).any()


def test_facts_name_only_what_dimensions_have(home: Settings, filling: Filling) -> None:
    folder = written(home)
    known = {
        column: set(pq.read_table(folder / f"{table}.parquet")[column].to_pylist())
        for table, column in (("dim_user", "user_id"), ("dim_title", "content_id"), ("dim_genre", "genre"))
    }
    days = set(pq.read_table(folder / "dim_date.parquet")["date"].to_pylist())
    for table in STAR:
        rows = pq.read_table(folder / f"{table.name}.parquet")
        for column, ids in known.items():
            if column in rows.column_names:
                assert set(rows[column].to_pylist()) <= ids, (table.name, column)
        if "date" in rows.column_names:
            assert set(rows["date"].to_pylist()) <= days


def test_no_cell_is_a_formula(home: Settings, filling: Filling) -> None:
    folder = written(home)
    text = pd.read_csv(folder / "dim_title.csv", dtype=str).set_index("content_id")
    assert text.loc["odd", "title"] == "'=cmd|' /C calc'!A0"
    parquet = pq.read_table(folder / "dim_title.parquet").to_pandas().set_index("content_id")
    assert parquet.loc["odd", "title"] == "=cmd|' /C calc'!A0"


def test_what_has_not_changed_is_not_written_again(home: Settings, filling: Filling) -> None:
    def places(folder: Path) -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in folder.glob("*.parquet")}

    before = places(written(home))
    assert places(written(home)) == before
    filling.add("interaction", "late", 5.0, id_usuario="u001", id_contenido="t001", evento="play")
    filling.commit()
    after = places(written(home))
    assert {name for name in after if after[name] != before[name]} == {"fact_interaction.parquet"}


def test_where_writing_fails_the_old_files_stay(
    home: Settings, filling: Filling, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(home)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    filling.add("interaction", "late", 5.0, id_usuario="u001", id_contenido="t001", evento="play")
    filling.commit()

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("nextreel.insight.star_files._write", full)
    with pytest.raises(OSError, match="no space"):
        written(home)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not list(home.exports.glob(".export.*"))
