"""What counts as one interaction: the same in the star, in training (Spark) and in the server's live state."""

import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import SparkSession
from tests.insight.conftest import Open
from tests.insight.filling import START, Filling
from tests.serve.living import live

from nextreel.events.arrival import UNDATED, micros_of
from nextreel.events.contract import fields_of
from nextreel.insight.warehouse import Warehouse
from nextreel.lake.tables import read_table
from nextreel.ratings.observed import observed
from nextreel.serve.live import Event, Live
from nextreel.settings import ImplicitRatings, Settings, load

#: By user and title: stars, and when they were given.
Ratings = dict[tuple[str, str], tuple[float, datetime]]


@pytest.fixture
def home(tmp_path: Any) -> Settings:
    return load({"home": str(tmp_path)}, {})


def add(filling: Filling, name: str, minute: float, sent: float | None, **values: Any) -> None:
    """Add an interaction; ``sent`` is Kafka's timestamp in minutes, None for one beyond all dates."""
    filling.add("interaction", name, minute, **values)
    filling.events["interaction"][-1]["kafka_timestamp"] = None if sent is None else START + timedelta(minutes=sent)


def rate(filling: Filling, name: str, user: str, title: str, stars: float, minute: float = 0.0) -> None:
    add(filling, name, minute, minute, id_usuario=user, id_contenido=title, evento="rate", calificacion=stars)


def in_star(warehouse: Warehouse) -> tuple[list[tuple[Any, ...]], Ratings]:
    """Return the interactions (id, user, title, verb, when) and the ratings of the star."""
    cursor = warehouse.cursor()
    deeds = cursor.execute(
        "SELECT interaction_id, user_id, content_id, verb, happened_at FROM fact_interaction ORDER BY ALL"
    ).fetchall()
    rows = cursor.execute("SELECT user_id, content_id, rating, rated_at FROM fact_rating").fetchall()
    return deeds, {(user, title): (stars, at) for user, title, stars, at in rows}


def in_training(spark: SparkSession, filling: Filling) -> Ratings:
    rows = observed(read_table(spark, filling.lake, "interactions"), ImplicitRatings()).where("source = 'observed'")
    found = rows.selectExpr("user_id", "content_id", "rating", "date_format(timestamp, 'yyyy-MM-dd HH:mm:ss') AS at")
    return {(r.user_id, r.content_id): (r.rating, datetime.fromisoformat(r.at)) for r in found.collect()}


def in_server(filling: Filling, rng: random.Random) -> Ratings:
    """Return what a server knows after all events, in any order and some of them twice."""
    trained: Live = live()
    rows = filling.events["interaction"]
    events = [
        Event(
            "interaction",
            tuple(row.get(field.name) for field in fields_of("interaction")),
            UNDATED if row["kafka_timestamp"] is None else micros_of(row["kafka_timestamp"]) // 1000,
            row["kafka_partition"],
            row["kafka_offset"],
        )
        for row in rows + rng.choices(rows, k=20)
    ]
    rng.shuffle(events)
    trained.apply(events)
    ratings: Ratings = {}
    for user in {row["id_usuario"] for row in rows}:
        row = trained.people.ids.find(user)
        assert row is not None
        past = trained.people.past(row)
        for title, stars, given, at in zip(past.titles, past.ratings, past.given, past.times, strict=True):
            if given:
                moment = datetime(1970, 1, 1) + timedelta(microseconds=int(at))
                ratings[user, trained.titles.ids.name(int(title))] = float(stars), moment
    return ratings


def expected(filling: Filling) -> tuple[set[tuple[Any, ...]], Ratings]:
    deeds: set[tuple[Any, ...]] = set()
    newest: dict[tuple[str, str], tuple[Any, ...]] = {}
    for row in filling.events["interaction"]:
        deeds.add((row["id"], row["id_usuario"], row["id_contenido"], row["evento"]))
        if row["evento"] == "rate":
            sent = row["kafka_timestamp"]
            order = (row["timestamp"], sent is not None, sent or START, row["id"], row["calificacion"])
            pair = row["id_usuario"], row["id_contenido"]
            newest[pair] = max(order, newest.get(pair, order))
    return deeds, {pair: (order[-1], order[0].replace(tzinfo=None)) for pair, order in newest.items()}


@pytest.mark.parametrize("seed", range(3))
def test_star_training_and_server_agree_on_ids_that_many_have(
    seed: int, home: Settings, open_warehouse: Open, spark: SparkSession
) -> None:
    rng, filling, warehouse = random.Random(seed), Filling(home.lake), open_warehouse(home)
    for n in range(300):
        verb = rng.choice(["rate", "rate", "play", "skip"])
        add(
            filling,
            str(rng.randrange(4)),
            rng.randrange(4),
            rng.choice([None, 0, 1, 2]),
            id_usuario=f"p{rng.randrange(4)}",
            id_contenido=f"q{rng.randrange(4)}",
            evento=verb,
            calificacion=rng.randrange(1, 11) / 2 if verb == "rate" else None,
            porcentaje_visto=rng.choice([None, 10.0, 90.0]),
            dispositivo=rng.choice([None, "tv", "web"]),
        )
        if n % 60 == 59:
            filling.commit()
            warehouse.refresh()
    deeds, ratings = expected(filling)
    star, star_ratings = in_star(warehouse)
    assert len(star) == len(deeds)
    assert {row[:4] for row in star} == deeds
    assert star_ratings == ratings
    assert in_training(spark, filling) == ratings
    assert in_server(filling, rng) == ratings
    # The facts agree with each other: each rating is of the newest interaction that rates.
    rated = {(user, title): at for _, user, title, verb, at in sorted(star, key=lambda row: row[4]) if verb == "rate"}
    assert rated == {pair: at for pair, (_, at) in ratings.items()}
    again = open_warehouse(home)
    again.refresh()
    assert in_star(again) == (star, star_ratings)


def test_an_id_of_another_user_erases_nothing(home: Settings, open_warehouse: Open) -> None:
    filling, warehouse = Filling(home.lake), open_warehouse(home)
    for user in ("victim", "attacker"):
        rate(filling, "same", user, "t1", 4.0)
        filling.commit()
        warehouse.refresh()
    deeds, ratings = in_star(warehouse)
    assert [(row[0], row[1]) for row in deeds] == [("same", "attacker"), ("same", "victim")]
    assert ratings.keys() == {("attacker", "t1"), ("victim", "t1")}


def test_files_whose_ids_begin_again_count_every_row(home: Settings, open_warehouse: Open, spark: SparkSession) -> None:
    """The second file's rows are of the same users, with the same numbers, and other titles."""
    filling, warehouse = Filling(home.lake), open_warehouse(home)
    for month in range(2):
        for n in range(100):
            rate(filling, str(n), f"u{n % 10}", f"t{n + 100 * month}", 4.0, 44_640 * month + n)
        filling.commit()
        warehouse.refresh()
    deeds, ratings = in_star(warehouse)
    assert (len(deeds), len(ratings)) == (200, 200)
    assert in_training(spark, filling) == ratings


def test_an_interaction_that_is_sent_again_with_another_time_counts_once(home: Settings, open_warehouse: Open) -> None:
    """A request that is repeated has its own id, and perhaps the server's time."""
    filling, warehouse = Filling(home.lake), open_warehouse(home)
    for minute in (3, 0, 5):
        rate(filling, "mine", "u1", "t1", 4.0, minute)
        filling.commit()
        warehouse.refresh()
    deeds, ratings = in_star(warehouse)
    at = (START + timedelta(minutes=5)).replace(tzinfo=None)
    assert deeds == [("mine", "u1", "t1", "rate", at)]
    assert ratings == {("u1", "t1"): (4.0, at)}


def test_a_kafka_timestamp_that_is_none_does_not_count_an_interaction_twice(
    home: Settings, open_warehouse: Open
) -> None:
    filling, warehouse = Filling(home.lake), open_warehouse(home)
    for _ in range(3):
        add(filling, "same", 0, None, id_usuario="u1", id_contenido="t1", evento="play")
        filling.commit()
        warehouse.refresh()
    assert len(in_star(warehouse)[0]) == 1
