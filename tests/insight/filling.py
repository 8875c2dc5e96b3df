"""A lake of hand-made or random events, written as ingest writes it, without Spark."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nextreel.events.contract import TABLES, EventType, fields_of
from nextreel.lake.layout import SCHEMAS, Lake

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = "2026-03-02"
GENRES = ["Drama", "Comedy", "War", "<script>alert(1)</script>", "=cmd|' /C calc'!A0", "رومانسي", "🚀 Sci-Fi"]
#: Names as somebody might send them who means harm, or who writes as people do.
HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</td></table>", "=cmd|' /C calc'!A0",
    "{a|{b}} {c} \\n {@[1]}", "%s%n${7*7}{{7*7}}", "'; DROP TABLE titles; --", "null", "__proto__", "0", "true",
    "a\tb\nc", "\u202ereversed\u202c end", "فيلم طويل جدا عن الصحراء والبحر", "👩\u200d👩\u200d👧🚀🎬🇪🇸",
    "日本語のとても長い題名" * 20, "x" * 500, "a\u0301\u0323\u0300" * 40,
]  # fmt: skip
COUNTRIES = ["Spain", "Peru", None]
DEVICES = ["tv", "web", None]


class Filling:
    """Events by type, and how many of each are in the lake already."""

    def __init__(self, root: Path):
        self.lake = Lake(root)
        self.events: dict[EventType, list[dict[str, Any]]] = defaultdict(list)
        self._written: dict[EventType, int] = defaultdict(int)

    def add(self, kind: EventType, name: str, minute: float = 0.0, **values: Any) -> None:
        """Have an event follow those before it in Kafka, with a time of its own."""
        n = len(self.events[kind])
        at = START + timedelta(minutes=minute)
        known = {field.name for field in fields_of(kind)}
        assert values.keys() <= known, values.keys() - known
        lineage = {
            "kafka_topic": TABLES[kind],
            "kafka_partition": n % 2,
            "kafka_offset": n // 2,
            "kafka_timestamp": START + timedelta(days=1, milliseconds=n),
            "ingested_at": START + timedelta(days=1, seconds=1),
        }
        self.events[kind].append({"id": name, "type": kind, "timestamp": at} | values | lineage)

    def commit(self) -> list[Path]:
        """Write what has been added since the last time: a file a table."""
        return [self._write(kind, rows[self._written[kind] :]) for kind, rows in self.events.items()]

    def merge(self, kind: EventType) -> None:
        """Put all files of a table into one, as compaction does: other names, the same rows."""
        old = self.lake.files(TABLES[kind])
        self._write(kind, self.events[kind])
        for file in old:
            file.unlink()

    def _write(self, kind: EventType, rows: Iterable[dict[str, Any]]) -> Path:
        self._written[kind] = len(self.events[kind])
        folder = self.lake.table(TABLES[kind]) / f"date={DAY}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{uuid4().hex}.parquet"
        pq.write_table(pa.Table.from_pylist(list(rows), SCHEMAS[TABLES[kind]]), path)
        return path


def written(root: Path, kind: EventType, columns: dict[str, Any]) -> None:
    """Write many events of a type at once; what is not among the columns is null, or the same for all."""
    schema, n = SCHEMAS[TABLES[kind]], len(columns["id"])
    same = {"type": kind, "timestamp": START, "kafka_topic": TABLES[kind], "kafka_partition": 0}
    same |= dict.fromkeys(("kafka_timestamp", "ingested_at"), START)
    given = {"kafka_offset": range(n)} | columns

    def cells(field: pa.Field) -> pa.Array:
        if field.name not in given:
            return pa.repeat(pa.scalar(same.get(field.name), field.type), n)
        values = given[field.name]
        return values.cast(field.type) if isinstance(values, pa.Array) else pa.array(values, field.type)

    folder = Lake(root).table(TABLES[kind]) / f"date={DAY}"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table([cells(field) for field in schema], schema), folder / f"{uuid4().hex}.parquet")


def random_world(filling: Filling, n_users: int = 40, n_titles: int = 30, n_deeds: int = 900, seed: int = 3) -> None:
    """Add events of all types: some users and titles change, some are never told of, some events come twice or late."""
    rng = np.random.default_rng(seed)

    def some(values: list[Any], most: int = 2) -> list[Any] | None:
        drawn = rng.choice(len(values), rng.integers(0, most + 1), replace=False)
        return [values[n] for n in drawn] or None

    for n in range(n_users):
        for minute in rng.permutation(3)[: rng.integers(1, 4)].tolist():
            month = int(rng.integers(1, 4))
            filling.add(
                "user", f"u{n:03d}", minute, nombre_usuario=f"name {n} {minute}", pais=COUNTRIES[rng.integers(3)],
                fecha_suscripcion=f"2026-{month:02d}-0{rng.integers(1, 9)}" if rng.random() < 0.8 else "soon",
                grupo_edad=["18-24", "25-34"][rng.integers(2)], generos=some(GENRES),
            )  # fmt: skip
    for n in range(n_titles):
        kind: EventType = "series" if n % 3 == 0 else "movie"
        more = {"numero_temporadas": str(rng.integers(1, 9))} if kind == "series" else {}
        for minute in rng.permutation(2)[: rng.integers(1, 3)].tolist():
            filling.add(
                kind, f"t{n:03d}", minute, titulo=f"Title {n} {minute}", generos=some(GENRES),
                decada_lanzamiento=[None, "1990s", "2000s"][rng.integers(3)], directores=some(["Ana", "Bo"]),
                actores=some(["Cy", "Dee", "Eve"]), clasificacion=["PG", "R", None][rng.integers(3)], **more,
            )  # fmt: skip
    for n in range(n_deeds):
        verb = ["play", "complete", "rate", "list", "skip"][rng.choice(5, p=[0.3, 0.2, 0.35, 0.1, 0.05])]
        deed = {
            "id_usuario": f"u{rng.integers(n_users + 3):03d}",
            "id_contenido": f"t{int((n_titles + 3) * rng.random() ** 2):03d}",
            "evento": verb,
            "calificacion": float(rng.integers(1, 11)) / 2 if verb == "rate" else None,
            "porcentaje_visto": round(100 * rng.random(), 1) if verb in ("play", "skip") else None,
            "dispositivo": DEVICES[rng.integers(3)],
        }
        minute = float(rng.integers(0, 60 * 24 * 50))
        for _ in range(1 + (rng.random() < 0.05)):  # some are delivered twice
            filling.add("interaction", f"i{n:05d}", minute, **deed)
