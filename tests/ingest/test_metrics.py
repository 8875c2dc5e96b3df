"""The stream as Prometheus metrics: what is asked over HTTP is what was put in."""

import math
import socket
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from nextreel.errors import SettingsError
from nextreel.ingest.metrics import served
from nextreel.ingest.progress import BatchRow, Commit, Now

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ROW = BatchRow(
    Commit(
        3, "q", NOW, {"users": 5, "quarantine": 2}, {"u": {"0": 7}},
        raw_bytes=700, parquet_bytes=90, unknown_fields=4, reasons={"not JSON": 2},
        kafka_times=(NOW - timedelta(seconds=9), NOW - timedelta(seconds=0.5)),
    ),
    lag={"u": {0: 11}}, absent={"u": 1}, total_seconds=0.7, seconds={"stage": 0.3},
    input_rows_per_second=70.0, processed_rows_per_second=10.0,
)  # fmt: skip


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scraped(port: int) -> dict[tuple[str, str], float]:
    """Return what a Prometheus would see: by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    return {(s.name, ",".join(s.labels.values())): s.value for s in samples(text)}


def samples(text: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(text):
        yield from family.samples


def test_two_batches_add_up(port: int) -> None:
    with served(port) as metrics:
        metrics.add(ROW)
        metrics.add(ROW)
        metrics.show(Now(last=ROW, lag=ROW.lag), {"u": {0: 11}})
        found = scraped(port)
    expected = {
        ("messages_total", "users"): 10,
        ("messages_total", "interactions"): 0,
        ("quarantined_messages_total", "not JSON"): 4,
        ("raw_bytes_total", ""): 1_400,
        ("parquet_bytes_total", ""): 180,
        ("unknown_fields_total", ""): 8,
        ("absent_offsets_total", "u"): 2,
        ("batches_total", ""): 2,
        ("batch_duration_seconds_count", "trigger_execution"): 2,
        ("batch_duration_seconds_sum", "stage"): 0.6,
        ("kafka_lag_messages", "0,u"): 11,
        ("newest_message_age_seconds", ""): 0.5,
        ("last_commit_timestamp_seconds", ""): NOW.timestamp(),
        ("input_messages_per_second", ""): 70,
        ("processed_messages_per_second", ""): 10,
    }
    assert {(metric, label): found[f"nextreel_ingest_{metric}", label] for metric, label in expected} == expected


def test_what_is_over_or_unknown_is_not_shown_as_if_it_were_now(port: int) -> None:
    with served(port) as metrics:
        metrics.add(ROW)
        metrics.show(Now(last=ROW, lag=None, idle_seconds=60.0), {"u": {0: 11}})
        found = scraped(port)
    assert found["nextreel_ingest_input_messages_per_second", ""] == 0
    assert math.isnan(found["nextreel_ingest_kafka_lag_messages", "0,u"])


def test_only_this_machine_is_answered(port: int) -> None:
    with served(port), pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", port), timeout=5)


def test_others_are_answered_at_the_address_that_is_set(port: int) -> None:
    with served(port, "0.0.0.0"):  # as in a container
        socket.create_connection(("127.0.0.2", port), timeout=5).close()


def test_a_port_in_use_is_an_error_that_names_it(port: int) -> None:
    with (
        served(port),
        pytest.raises(SettingsError, match=rf"ingest.metrics_port = {port}: .*in use.* Choose a free port"),
        served(port),
    ):
        pass
    with served(port):  # and free again
        pass


def test_no_port_is_no_server() -> None:
    with served(0) as metrics:
        metrics.add(ROW)
