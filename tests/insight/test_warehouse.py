"""The warehouse follows a lake: whatever the steps, it holds what one that begins now would."""

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from tests.insight.conftest import Open
from tests.insight.filling import Filling, random_world
from tests.serve.living import live

from nextreel.insight.export import write_recommendations
from nextreel.insight.star import STAR
from nextreel.insight.warehouse import Warehouse
from nextreel.model.lists import SCHEMA
from nextreel.model.store import ModelStore
from nextreel.settings import Settings, load


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return load({"home": str(tmp_path)}, {})


def rows(warehouse: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    cursor = warehouse.cursor()
    return {table.name: cursor.execute(f"FROM {table.name} ORDER BY ALL").fetchall() for table in STAR}


def anew(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    with Warehouse(settings) as warehouse:
        warehouse.refresh()
        return rows(warehouse)


def filled(home: Settings, open_warehouse: Open) -> tuple[Filling, Warehouse]:
    """Return a small lake and a warehouse that holds all of it."""
    filling = Filling(home.lake)
    random_world(filling, n_deeds=50)
    filling.commit()
    warehouse = open_warehouse(home)
    warehouse.refresh()
    return filling, warehouse


def test_what_does_not_fit_lies_in_a_folder_that_goes_with_it(settings: Settings) -> None:
    with Warehouse(settings) as warehouse:
        ((name,),) = warehouse.cursor().execute("SELECT current_setting('temp_directory')").fetchall()
        assert Path(name).name.startswith("nextreel-scratch-")
        assert Path(name).is_dir()
    assert not Path(name).exists()


def test_step_by_step_it_holds_what_one_that_begins_now_would(home: Settings, open_warehouse: Open) -> None:
    whole = Filling(home.lake)
    random_world(whole)
    everything = {kind: list(events) for kind, events in whole.events.items()}
    warehouse = open_warehouse(home)
    growing = Filling(home.lake)
    for part in range(1, 8):
        for kind, events in everything.items():
            growing.events[kind] = events[: part * len(events) // 7]
        growing.commit()
        assert warehouse.refresh()
        assert rows(warehouse) == anew(home), f"after part {part}"
    assert len(rows(warehouse)["fact_interaction"]) == len({e["id"] for e in everything["interaction"]})


def test_files_that_are_merged_are_nothing_new(home: Settings, open_warehouse: Open) -> None:
    filling = Filling(home.lake)
    random_world(filling, n_deeds=100)
    filling.commit()
    filling.add("interaction", "late", 5.0, id_usuario="u001", id_contenido="t001", evento="play")
    filling.commit()
    warehouse = open_warehouse(home)
    warehouse.refresh()
    before = rows(warehouse)
    for kind in ("user", "movie", "series", "interaction"):
        filling.merge(kind)
    warehouse.refresh()
    assert rows(warehouse) == before == anew(home)
    filling.add("interaction", "later", 6.0, id_usuario="u001", id_contenido="t001", evento="play")
    filling.merge("interaction")  # what is new and what is known, in one file
    assert warehouse.refresh()
    assert len(rows(warehouse)["fact_interaction"]) == len(before["fact_interaction"]) + 1


def test_files_of_a_batch_may_come_in_any_order(home: Settings, open_warehouse: Open) -> None:
    filling = Filling(home.lake)
    random_world(filling, n_deeds=200)
    late = [path for path in filling.commit() if path.parent.parent.name == "interactions"]
    filling.add("interaction", "last", 5.0, id_usuario="u001", id_contenido="t001", evento="play")
    filling.commit()
    aside = [(path, path.rename(path.with_suffix(".late"))) for path in late]
    warehouse = open_warehouse(home)
    warehouse.refresh()
    assert len(rows(warehouse)["fact_interaction"]) == 1
    for path, other in aside:
        other.rename(path)
    assert warehouse.refresh()
    assert rows(warehouse) == anew(home)


def test_of_an_interaction_that_is_sent_again_the_newest_holds(home: Settings, open_warehouse: Open) -> None:
    filling = Filling(home.lake)
    deed = {"id_usuario": "u1", "id_contenido": "t1", "evento": "rate"}
    filling.add("interaction", "same", 5.0, **deed, calificacion=2.0)
    filling.commit()
    warehouse = open_warehouse(home)
    warehouse.refresh()
    filling.add("interaction", "same", 5.0, **deed, calificacion=4.5)
    filling.commit()
    assert warehouse.refresh()
    assert [row[4] for row in rows(warehouse)["fact_rating"]] == [4.5]
    assert len(rows(warehouse)["fact_interaction"]) == 1
    assert rows(warehouse) == anew(home)


def test_days_that_are_removed_are_gone(home: Settings, open_warehouse: Open) -> None:
    filling, warehouse = filled(home, open_warehouse)
    shutil.rmtree(filling.lake.files("interactions")[0].parent)
    assert warehouse.refresh()
    assert rows(warehouse)["fact_interaction"] == []
    assert rows(warehouse) == anew(home)


def test_what_a_deleted_file_told_is_gone(home: Settings, open_warehouse: Open) -> None:
    filling, warehouse = filled(home, open_warehouse)
    (first,) = filling.lake.files("interactions")
    filling.add("interaction", "late", 5.0, id_usuario="u001", id_contenido="t001", evento="play")
    filling.commit()
    warehouse.refresh()
    whole = len(rows(warehouse)["fact_interaction"])
    first.unlink()
    assert warehouse.refresh()
    assert 0 < len(rows(warehouse)["fact_interaction"]) < whole
    assert rows(warehouse) == anew(home)
    assert not warehouse.refresh()


def test_recommendations_that_are_deleted_are_gone(home: Settings, open_warehouse: Open) -> None:
    _, warehouse = filled(home, open_warehouse)
    row = {"user_id": "u001", "username": "u", "rank": 1, "content_id": "t001", "title": "t", "type": "movie"}
    listed = pa.Table.from_pylist([row | {"genres": ["Drama"], "predicted_rating": 4.0}], SCHEMA)
    write_recommendations(iter([listed]), home.exports, "1")
    assert warehouse.refresh()
    assert len(rows(warehouse)["fact_recommendation"]) == 1
    shutil.rmtree(home.exports)
    assert warehouse.refresh()
    assert rows(warehouse)["fact_recommendation"] == []
    assert not warehouse.refresh()


def test_what_cannot_be_read_of_one_keeps_nothing_of_the_others_back(home: Settings, open_warehouse: Open) -> None:
    filling = Filling(home.lake)
    random_world(filling, n_deeds=50)
    filling.commit()
    home.exports.mkdir(parents=True)
    (home.exports / "final_recommendations.parquet").write_bytes(b"no parquet")
    home.models.mkdir(parents=True)
    (home.models / "decisions.jsonl").write_text("no decision\n")
    warehouse = open_warehouse(home)
    with pytest.raises(duckdb.Error):
        warehouse.refresh()
    assert len(rows(warehouse)["fact_interaction"]) == 50
    assert warehouse.revision == 1
    with pytest.raises(duckdb.Error):
        warehouse.refresh()
    assert warehouse.revision == 1


def test_an_interrupt_is_an_interrupt_and_not_a_file_that_cannot_be_read(
    home: Settings, open_warehouse: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = open_warehouse(home)

    def interrupted() -> bool:
        raise RuntimeError("Query interrupted")  # DuckDB's

    monkeypatch.setattr(warehouse, "_follow_lake", interrupted)
    with pytest.raises(KeyboardInterrupt):
        warehouse.refresh()


def test_nothing_new_is_no_change(home: Settings, open_warehouse: Open) -> None:
    filling = Filling(home.lake)
    random_world(filling, n_deeds=50)
    filling.commit()
    warehouse = open_warehouse(home)
    assert warehouse.refresh()
    revision = warehouse.revision
    assert not warehouse.refresh()
    assert warehouse.revision == revision


def test_an_empty_home_is_empty_tables(home: Settings, open_warehouse: Open) -> None:
    warehouse = open_warehouse(home)
    warehouse.refresh()
    assert all(not found for found in rows(warehouse).values())


def test_a_lake_that_begins_anew_is_read_anew(home: Settings, open_warehouse: Open) -> None:
    filling = Filling(home.lake)
    filling.add("user", "old")
    filling.commit()
    warehouse = open_warehouse(home)
    warehouse.refresh()
    for file in filling.lake.files("users"):
        file.unlink()
    filling.lake.topics.parent.mkdir(parents=True, exist_ok=True)
    filling.lake.topics.write_text(json.dumps({"users": "another"}))
    other = Filling(home.lake)
    other.add("user", "new")
    other.commit()
    assert warehouse.refresh()
    assert [row[0] for row in rows(warehouse)["dim_user"]] == ["new"]


def test_where_a_file_cannot_be_read_nothing_is_lost(home: Settings, open_warehouse: Open) -> None:
    filling, warehouse = filled(home, open_warehouse)
    before = rows(warehouse)
    filling.add("interaction", "late", 5.0, id_usuario="u001", id_contenido="t001", evento="play")
    (*_, path) = filling.commit()
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    with pytest.raises(duckdb.Error):
        warehouse.refresh()
    assert rows(warehouse) == before
    path.write_bytes(whole)
    assert warehouse.refresh()
    assert rows(warehouse) == anew(home)


def test_whoever_asks_while_it_refreshes_sees_what_was_there(home: Settings, open_warehouse: Open) -> None:
    filling, warehouse = filled(home, open_warehouse)
    asking = warehouse.cursor()
    asking.execute("BEGIN")
    ((before,),) = asking.execute("SELECT count(*) FROM interactions").fetchall()
    filling.add("interaction", "late", 5.0, id_usuario="u001", id_contenido="t001", evento="play")
    filling.commit()
    warehouse.refresh()
    assert asking.execute("SELECT count(*) FROM interactions").fetchall() == [(before,)]
    asking.execute("COMMIT")
    assert asking.execute("SELECT count(*) FROM interactions").fetchall() == [(before + 1,)]


def test_model_versions_and_what_was_decided(home: Settings, open_warehouse: Open) -> None:
    small = live()
    store = ModelStore(home.models)
    evaluation = {
        "ranking": {"als": {"ndcg": 0.3}, "popularity": {"ndcg": 0.1}},
        "accuracy": {"als": {"rmse": 0.9}},
        "intervals": {"ranking": {"als": {"ndcg": [0.2, 0.4]}}},
        "segments": {"light": {"ranking": {"als": {"ndcg": None}}}},
        "calibration": [{"predicted": 3.5, "actual": 3.25, "n_ratings": 4}],
    }
    version = store.save(small.model, {"evaluation": evaluation})
    store.promote(version, "because")
    warehouse = open_warehouse(home)
    assert warehouse.refresh()
    found = rows(warehouse)
    told = {(row[2], row[3], row[4]): (row[5:8], row[8:]) for row in found["model_metric"]}
    assert told[("nextreel", "ndcg", "all")] == ((0.3, 0.2, 0.4), (True, "promoted", "because"))
    assert told[("popularity", "ndcg", "all")][0] == (0.1, None, None)
    assert told[("nextreel", "rmse", "all")][0] == (0.9, None, None)
    assert told[("nextreel", "ndcg", "light")][0] == (None, None, None)
    assert found["model_calibration"] == [(version, True, 3.5, 3.25, 4)]
    (home.models / version / "model.json").write_text("{")
    store.save(small.model, {"evaluation": evaluation})
    assert warehouse.refresh()
    assert version not in {row[0] for row in rows(warehouse)["model_metric"]}


def test_every_column_of_the_star_is_there_and_explained(home: Settings, open_warehouse: Open) -> None:
    warehouse = open_warehouse(home)
    cursor = warehouse.cursor()
    for table in STAR:
        described = cursor.execute(f"DESCRIBE {table.name}").fetchall()
        assert [column[0] for column in described] == [column.name for column in table.columns]
        kinds = {"string": "VARCHAR", "date": "DATE", "time": "TIMESTAMP", "flag": "BOOLEAN"}
        for (_, kind, *_), column in zip(described, table.columns, strict=True):
            if column.kind in kinds:
                assert kind == kinds[column.kind], (table.name, column.name)
            else:
                assert kind in {"whole": ("INTEGER", "BIGINT"), "number": ("FLOAT", "DOUBLE")}[column.kind]
            assert column.doc
            assert table.doc
