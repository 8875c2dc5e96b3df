"""The five Vs of a small lake whose figures are known, each with its source; what cannot be known is not made up."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console
from tests.test_status import NOW, TODAY, fill, rows, with_model

from nextreel.five_vs import Figure, as_dict, five_vs, show
from nextreel.lake import batches
from nextreel.lake.commit import commit
from nextreel.lake.layout import BATCHES_SCHEMA, SCHEMAS, Lake
from nextreel.lake.ledger import Intake
from nextreel.lake.write import stage
from nextreel.settings import Settings, load


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"home": str(tmp_path)}, {})


def values(settings: Settings) -> dict[str, Any]:
    return {f.name: f.value for found in five_vs(settings, NOW + timedelta(minutes=1)).values() for f in found}


def test_known_answers(settings: Settings) -> None:
    fill(settings)
    with_model(settings)
    found = values(settings)
    lake = Lake(settings.lake)
    size = sum(f.stat().st_size for t in ("users", "interactions", "quarantine") for f in lake.files(t))

    assert (found["rows, last hour"], found["JSON, last hour"]) == (5, 1_000)
    assert (found["rows, all"], found["JSON, all"], found["Parquet, all"]) == (8, 4_000, size)
    assert found["in table users"]["rows"] == 3
    assert found["Parquet smaller than JSON by"] == pytest.approx(100 * (1 - size / 4_000))

    assert found["from its first micro-batch to the commit"] == 40
    assert found["rows a second, mean"] == 5 / 40
    assert found["rows a second, busiest minute"] is None
    assert found["micro-batch"] == {"p50": 2.0, "p95": 2.0, "p99": 2.0}
    # Four messages and the rejected one were ingested a second after Kafka had them, and committed at NOW.
    assert found["from Kafka's timestamp to its task"] == pytest.approx({"p50": 1, "p95": 1, "p99": 1}, rel=0.01)
    assert found["from Kafka's timestamp to the commit"] == pytest.approx({"p50": 30, "p95": 30, "p99": 30}, rel=0.01)

    assert found["rows by type"] == {"users": 3, "movies": 0, "series": 0, "interactions": 4}
    assert found["interactions by verb"] == {"play": 4}
    assert found["optional fields filled, users"]["generos"] == 0
    assert found["optional fields filled, movies"] is None
    assert found["fields that the contract does not know"] == 2

    assert (found["accepted"], found["quarantined"], found["quarantined of all"]) == (7, 1, 12.5)
    assert found["why"] == {"not JSON": 1}
    assert found["offsets of Kafka that held no message"] == 1

    assert found["nDCG@10 beside popularity's"] == 2.0
    assert found["recall@10 beside popularity's"] is None
    assert found["RMSE below that of biases by"] == pytest.approx(10)
    assert found["users with something to find"] == 7


def test_messages_from_the_future_make_nothing_younger(settings: Settings) -> None:
    fill(settings)
    lake = Lake(settings.lake)
    ahead = rows("users", 95, NOW - timedelta(seconds=29)).set_column(
        SCHEMAS["users"].get_field_index("kafka_timestamp"),
        SCHEMAS["users"].field("kafka_timestamp"),
        pa.array([NOW + timedelta(days=366)] * 94 + [datetime(9999, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")),
    )
    commit(lake, "query", 2, [stage(lake, "users", TODAY, ahead)], {}, Intake())
    later = NOW + timedelta(seconds=1)
    row = {"batch_id": 2, "committed_at": later, "messages": 95, "newest_age_seconds": -31_622_400.0}
    batches.append(lake, pa.Table.from_pylist([dict.fromkeys(BATCHES_SCHEMA.names) | row], BATCHES_SCHEMA))
    found = values(settings)
    assert found["newest message when readable"] == {"p50": 20.0, "p95": 20.0, "p99": 20.0}
    assert found["from Kafka's timestamp to its task"] == pytest.approx({"p50": 1, "p95": 1, "p99": 1}, rel=0.01)
    assert found["from Kafka's timestamp to the commit"] == pytest.approx({"p50": 30, "p95": 30, "p99": 30}, rel=0.01)


def test_no_count_is_negative(settings: Settings) -> None:
    lake = Lake(settings.lake)
    intake = Intake({"t": {"0": 0, "1": 0}}, {"t": {"0": 9, "1": 2}}, 9)
    commit(lake, "query", 0, [], {"t": {"0": 5, "1": 3}}, intake)  # 4 messages more than offsets; 1 less
    assert values(settings)["offsets of Kafka that held no message"] is None
    commit(lake, "query", 1, [stage(lake, "users", TODAY, rows("users", 11, NOW))], {"t": {"0": 5, "1": 3}}, Intake())
    assert values(settings)["offsets of Kafka that held no message"] == 1


def test_where_nothing_is_known_nothing_is_claimed(settings: Settings) -> None:
    found = five_vs(settings)
    assert list(found) == ["volume", "velocity", "variety", "veracity", "value"]
    assert {str(f) for f in found["velocity"]} == {"unknown"}
    assert {str(f) for f in found["value"]} == {"unknown"}
    assert found["volume"][0].value is None
    assert not settings.lake.exists()


def test_every_figure_says_what_it_was_measured_from(settings: Settings) -> None:
    fill(settings)
    found = five_vs(settings)
    for v, figures in as_dict(found).items():
        for name, figure in figures.items():
            assert figure["measured_from"], (v, name)
    console = Console(width=150, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    show(console, found)
    text = console.export_text()
    assert "play 4" in text
    assert "model.json" not in text
    assert "no model yet" in text


def test_figures_as_text() -> None:
    assert str(Figure("", 12_345.6, "rows/s", "")) == "12,346 rows/s"
    assert str(Figure("", {"p50": 0.1234, "p99": 12.3}, "s", "")) == "p50 0.123, p99 12.3 s"
    assert str(Figure("", None, "s", "")) == "unknown"
    assert str(Figure("", {}, "", "")) == "nothing"
