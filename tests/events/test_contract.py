"""The contract: the names on the wire are what everyone else relies on."""

import pyarrow as pa
import pytest

from nextreel.events.contract import (
    EVENT_TYPES,
    EXPLAINED,
    FIELDS,
    MATURITY,
    RATING_MAX,
    RATING_MIN,
    TABLES,
    EventType,
    Reason,
    Verb,
    event_schema,
    fields_of,
)

#: The original system's schema, in its order.
ORIGINAL = [
    "id",
    "type",
    "timestamp",
    "titulo",
    "nombre_usuario",
    "fecha_suscripcion",
    "generos",
    "directores",
    "actores",
    "clasificacion",
    "decada_lanzamiento",
    "numero_temporadas",
    "numero_episodios",
    "decadas_favoritas",
]
ADDED = [
    "pais",
    "grupo_edad",
    "id_usuario",
    "id_contenido",
    "evento",
    "calificacion",
    "porcentaje_visto",
    "dispositivo",
]
ARRAYS = {"generos", "directores", "actores", "decadas_favoritas"}


def test_the_original_fields_come_first_and_ours_behind() -> None:
    assert [f.name for f in FIELDS] == ORIGINAL + ADDED


def test_the_arrays_are_the_arrays() -> None:
    assert {f.name for f in FIELDS if f.kind == "strings"} == ARRAYS


def test_the_original_fields_are_on_the_types_that_have_them() -> None:
    assert {e: {f.name for f in fields_of(e)} for e in EVENT_TYPES} == {
        "user": {*ORIGINAL[:3], *ORIGINAL[4:10], "decadas_favoritas", "pais", "grupo_edad"},
        "movie": {*ORIGINAL[:4], *ORIGINAL[6:11]},
        "series": {*ORIGINAL[:4], *ORIGINAL[6:13]},
        "interaction": {*ORIGINAL[:3], *ADDED[2:]},
    }


def test_what_is_required() -> None:
    assert {e: [f.name for f in fields_of(e) if e in f.required] for e in EVENT_TYPES} == {
        "user": ["id", "type", "timestamp"],
        "movie": ["id", "type", "timestamp"],
        "series": ["id", "type", "timestamp"],
        "interaction": ["id", "type", "timestamp", "id_usuario", "id_contenido", "evento"],
    }


def test_a_field_is_required_only_where_it_exists() -> None:
    assert [f.name for f in FIELDS if not set(f.required) <= set(f.types)] == []


def test_verbs_and_scales() -> None:
    assert [str(v) for v in Verb] == ["play", "complete", "rate", "list", "skip"]
    bounds = {f.name: (f.low, f.high) for f in FIELDS if f.kind == "number"}
    assert bounds == {"calificacion": (0.5, 5.0), "porcentaje_visto": (0.0, 100.0)}
    assert (RATING_MIN, RATING_MAX) == (0.5, 5.0)


def test_age_ratings_come_in_order_of_maturity() -> None:
    films = ["G", "PG", "PG-13", "R", "NC-17"]
    assert [MATURITY[f] for f in films] == [0, 1, 2, 3, 4]
    television = ["TV-Y", "TV-Y7", "TV-PG", "TV-14", "TV-MA"]
    assert sorted(television, key=lambda t: MATURITY[t]) == television


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_the_arrow_schema_is_nullable_and_in_order(event_type: EventType) -> None:
    schema = event_schema(event_type)
    assert schema.names == [f.name for f in fields_of(event_type)]
    assert [f.name for f in schema if not f.nullable] == []
    assert schema.field("timestamp").type == pa.timestamp("us", tz="UTC")
    arrays = {f.name for f in schema if f.type == pa.list_(pa.string())}
    assert arrays == ARRAYS & set(schema.names)


def test_every_type_has_a_table_of_its_own() -> None:
    assert list(TABLES) == list(EVENT_TYPES)
    assert list(TABLES.values()) == ["users", "movies", "series", "interactions"]


def test_every_field_says_what_it_is() -> None:
    assert [f.name for f in FIELDS if not f.doc] == []


def test_every_reason_is_explained() -> None:
    assert list(EXPLAINED) == list(Reason)
    assert [reason for reason, told in EXPLAINED.items() if not (told.means and told.remedy)] == []


def test_the_reasons() -> None:
    assert [str(reason) for reason in Reason] == [
        "empty", "too large", "not UTF-8", "not JSON", "not an object", "unknown type", "wrong topic", "missing field",
        "wrong type", "out of range", "too long", "forbidden character", "bad timestamp",
    ]  # fmt: skip
