"""Ratings from the lake: what users said, and simulated ratings where they said too little."""

from collections import Counter
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from tests.ratings.traits import side

from nextreel.ratings.observed import observed
from nextreel.ratings.sources import COLUMNS, LIKING
from nextreel.ratings.table import ratings
from nextreel.settings import ImplicitRatings, RatingsSettings

START = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = RatingsSettings(min_observed=3, per_user=6)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("kafka_timestamp", pa.timestamp("us", tz="UTC")),
        ("id_usuario", pa.string()),
        ("id_contenido", pa.string()),
        ("evento", pa.string()),
        ("calificacion", pa.float64()),
    ]
)


def event(key: str, minute: int, user: str, title: str, stars: float | None, **other: Any) -> dict[str, Any]:
    """An interaction; a ``rate`` event where nothing else is said."""
    moment = START + timedelta(minutes=minute)
    return {
        "id": key,
        "timestamp": moment,
        "kafka_timestamp": moment,
        "id_usuario": user,
        "id_contenido": title,
        "evento": "rate",
        "calificacion": stars,
    } | other


def interactions(spark: SparkSession, *events: dict[str, Any]) -> DataFrame:
    return spark.createDataFrame(pa.Table.from_pylist(list(events), SCHEMA))


def said(events: DataFrame) -> DataFrame:
    """What users said and did; who watched to the end liked it well."""
    return observed(events, ImplicitRatings(complete=4.25))


TITLES = side("content_id", "t", 40)


def users(spark: SparkSession, n: int = 4) -> DataFrame:
    return spark.createDataFrame(side("user_id", "u", n))


def rows(frame: DataFrame) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = frame.toArrow().to_pylist()
    return sorted(found, key=lambda r: (r["user_id"], r["content_id"]))


def rated(frames: AbstractContextManager[DataFrame]) -> list[dict[str, Any]]:
    with frames as frame:
        return rows(frame)


# Observed


def test_the_newest_rating_of_a_pair_wins(spark: SparkSession) -> None:
    later = START + timedelta(hours=9)
    found = said(
        interactions(
            spark,
            event("a", 5, "u1", "t1", 2.0),
            event("b", 9, "u1", "t1", 4.5),
            event("c", 7, "u1", "t1", 1.0, kafka_timestamp=later),  # late in Kafka, but not newer
            event("d", 1, "u2", "t1", 3.0),
            event("e", 1, "u1", "t2", 0.5),
        )
    )
    assert tuple(found.columns) == COLUMNS
    assert [tuple(r.values()) for r in rows(found)] == [
        ("u1", "t1", 4.5, START + timedelta(minutes=9), "observed"),
        ("u1", "t2", 0.5, START + timedelta(minutes=1), "observed"),
        ("u2", "t1", 3.0, START + timedelta(minutes=1), "observed"),
    ]


def test_equal_times_go_to_the_later_in_kafka_then_to_the_higher_id(spark: SparkSession) -> None:
    later = START + timedelta(hours=9)
    found = said(
        interactions(
            spark,
            event("z", 5, "u1", "t1", 2.0),
            event("a", 5, "u1", "t1", 4.0, kafka_timestamp=later),
            event("y", 5, "u1", "t2", 5.0),
            event("x", 5, "u1", "t2", 1.0),
        )
    )
    assert [r["rating"] for r in rows(found)] == [4.0, 5.0]


def test_an_event_delivered_twice_counts_once(spark: SparkSession) -> None:
    twice = event("a", 5, "u1", "t1", 2.0)
    found = said(interactions(spark, twice, twice, twice | {"kafka_timestamp": START + timedelta(days=1)}))
    assert [r["rating"] for r in rows(found)] == [2.0]


def test_what_is_no_rating_stands_for_one_where_there_is_none(spark: SparkSession) -> None:
    found = said(
        interactions(
            spark,
            *(event(v, 9, "u1", "t1", None, evento=v) for v in ("play", "complete", "list", "skip")),
            event("odd", 9, "u1", "t1", 1.0, evento="play"),
            event("a", 5, "u1", "t1", 3.5),
            event("b", 5, "u2", "t1", None, evento="skip"),
            event("c", 1, "u2", "t2", None, evento="list"),
            event("d", 7, "u2", "t2", None, evento="complete"),
            event("e", 3, "u2", "t2", None, evento="skip"),
        )
    )
    assert [tuple(r.values()) for r in rows(found)] == [
        ("u1", "t1", 3.5, START + timedelta(minutes=5), "observed"),
        ("u2", "t1", 2.0, START + timedelta(minutes=5), "implicit"),
        ("u2", "t2", 4.25, START + timedelta(minutes=7), "implicit"),
    ]


def test_what_stands_for_no_rating_is_ignored(spark: SparkSession) -> None:
    events = [event(v, 9, "u1", v, None, evento=v) for v in ("play", "complete", "list", "skip", "strange")]
    nothing = ImplicitRatings(complete=0, list=0, play=0)
    assert [r["content_id"] for r in rows(observed(interactions(spark, *events), nothing))] == ["skip"]
    found = rated(ratings(interactions(spark, *events), users(spark), TITLES, RatingsSettings(simulate="never")))
    assert {r["content_id"]: r["source"] for r in found} == dict.fromkeys(
        ("play", "complete", "list", "skip"), "implicit"
    )


# The table


@pytest.fixture(scope="module")
def mixed(spark: SparkSession) -> list[dict[str, Any]]:
    """u0 rated nothing, u1 two titles (one of them often), u2 three, and u9, who has no profile, one."""
    events = interactions(
        spark,
        *(event(f"a{i}", i, "u1", "t1", 1.0 + i / 2) for i in range(5)),
        event("b", 1, "u1", "t2", 2.0),
        *(event(f"c{i}", 1, "u2", f"t{i}", 5.0) for i in range(3)),
        event("d", 1, "u9", "t7", 4.0),
    )
    return rated(ratings(events, users(spark), TITLES, SETTINGS))


def test_one_row_a_pair_on_the_scale(mixed: list[dict[str, Any]]) -> None:
    assert len({(r["user_id"], r["content_id"]) for r in mixed}) == len(mixed)
    assert {tuple(r) for r in mixed} == {(*COLUMNS, LIKING)}
    assert all((r[LIKING] is None) == (r["source"] != "simulated") for r in mixed)
    assert all(r["rating"] * 2 in range(1, 11) for r in mixed)
    assert all((r["timestamp"] is None) == (r["source"] == "simulated") for r in mixed)


def test_who_rated_enough_gets_no_simulated_ratings(mixed: list[dict[str, Any]]) -> None:
    sources = {u: Counter(r["source"] for r in mixed if r["user_id"] == u) for u in ("u0", "u1", "u2", "u3", "u9")}
    assert sources["u2"] == {"observed": 3}
    assert sources["u9"] == {"observed": 1}
    assert sources["u1"]["observed"] == 2
    for sparse in ("u0", "u1", "u3"):
        assert 1 <= sources[sparse]["simulated"] <= SETTINGS.per_user


def test_observed_ratings_replace_simulated_ones(spark: SparkSession) -> None:
    before = {
        (r["user_id"], r["content_id"]): r for r in rated(ratings(interactions(spark), users(spark), TITLES, SETTINGS))
    }
    user, title = next(pair for pair in before if pair[0] == "u3")
    events = interactions(spark, event("a", 1, user, title, 3.5))
    after = {(r["user_id"], r["content_id"]): r for r in rated(ratings(events, users(spark), TITLES, SETTINGS))}
    assert after.keys() == before.keys()
    assert {pair for pair in after if after[pair] != before[pair]} == {(user, title)}
    assert (after[user, title]["rating"], after[user, title]["source"]) == (3.5, "observed")


def test_without_interactions_all_are_simulated(spark: SparkSession) -> None:
    found = rated(ratings(interactions(spark), users(spark), TITLES, SETTINGS))
    assert {r["source"] for r in found} == {"simulated"}
    assert {r["user_id"] for r in found} == {"u0", "u1", "u2", "u3"}


def test_no_ratings_are_simulated_where_enough_users_give_them(spark: SparkSession) -> None:
    events = interactions(
        spark,
        *(event(f"{u}{t}", 1, u, t, 4.0) for u in ("u1", "u2") for t in ("t1", "t2", "t3")),
        event("a", 1, "u3", "t1", None, evento="complete"),
    )
    for enough, sources in ((2, {"observed", "implicit"}), (3, {"observed", "implicit", "simulated"})):
        given = SETTINGS.model_copy(update={"enough_users": enough})
        assert {r["source"] for r in rated(ratings(events, users(spark), TITLES, given))} == sources
        always = given.model_copy(update={"simulate": "sparse"})
        assert "simulated" in {r["source"] for r in rated(ratings(events, users(spark), TITLES, always))}


def test_never_simulate(spark: SparkSession) -> None:
    events = interactions(spark, event("a", 1, "u1", "t1", 3.5))
    found = rated(ratings(events, users(spark), TITLES, RatingsSettings(simulate="never")))
    assert [(r["user_id"], r["source"]) for r in found] == [("u1", "observed")]


def test_no_titles_to_simulate_ratings_of(spark: SparkSession) -> None:
    events = interactions(spark, event("a", 1, "u1", "t1", 3.5))
    assert len(rated(ratings(events, users(spark), TITLES.slice(0, 0), SETTINGS))) == 1


def test_the_same_however_the_users_are_partitioned(spark: SparkSession) -> None:
    none = interactions(spark)
    one, many = (rated(ratings(none, users(spark, 30).repartition(n), TITLES, SETTINGS)) for n in (1, 3))
    assert one == many
