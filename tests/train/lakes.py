"""A small lake, and what is put into it after a training."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from nextreel.lake.commit import commit
from nextreel.lake.layout import SCHEMAS, Lake
from nextreel.lake.ledger import Intake
from nextreel.lake.write import stage

GENRES = ("Drama", "War", "Comedy")
N_USERS, N_TITLES = 30, 24
_START = datetime(2026, 1, 1, tzinfo=UTC)


def put(lake: Lake, batch: int, **events: list[dict[str, Any]]) -> None:
    """Commit events, by table."""
    staged = []
    day = _START + timedelta(days=batch)
    for table, rows in events.items():
        lineage = {"kafka_topic": table, "kafka_partition": 0, "ingested_at": day}
        full = [
            {"kafka_offset": n, "kafka_timestamp": day, "timestamp": day + timedelta(minutes=n)} | lineage | row
            for n, row in enumerate(rows)
        ]
        staged.append(stage(lake, table, f"{day:%Y-%m-%d}", pa.Table.from_pylist(full, SCHEMAS[table])))
    commit(lake, "query", batch, staged, {}, Intake())


def user(number: int, genres: list[str] | None) -> dict[str, Any]:
    return {"id": f"u{number:02}", "nombre_usuario": f"=User {number}", "generos": genres, "clasificacion": "R"}


def title(number: int, genres: list[str] | None) -> dict[str, Any]:
    return {"id": f"t{number:02}", "type": "movie", "titulo": f"Title {number}", "generos": genres}


def deed(who: int, what: int, stars: float | None, verb: str = "rate") -> dict[str, Any]:
    pair = {"id_usuario": f"u{who:02}", "id_contenido": f"t{what:02}"}
    return pair | {"id": f"{who}-{what}-{verb}", "type": "interaction", "evento": verb, "calificacion": stars}


def before(lake: Lake, rated: float = 0.3, done: float = 0.1) -> None:
    """Users who like one genre of three, each number modulo three; some of both sides have no ratings."""
    rng = np.random.default_rng(3)
    pairs = [(u, t) for u in range(2, N_USERS) for t in range(2, N_TITLES)]
    fits = [u % 3 == t % 3 for u, t in pairs]
    said = [deed(u, t, 4.5 if f else 1.5) for (u, t), f in zip(pairs, fits, strict=True) if rng.random() < rated]
    did = [deed(u, t, None, "complete") for u, t in pairs if rng.random() < done]
    put(
        lake,
        0,
        users=[user(n, None if n % 5 == 4 else [GENRES[n % 3]]) for n in range(N_USERS)],
        movies=[title(n, [GENRES[n % 3]]) for n in range(N_TITLES)],
        interactions=said + did,
    )


def after(lake: Lake) -> None:
    """Users 60, 61 and 62 come, with a preference, with nothing, with ratings but no profile; and titles 50 and 51.

    The second of these has ratings, the first user does and rates more, and user 3 is called otherwise.
    """
    put(
        lake,
        1,
        users=[user(60, ["War"]), user(61, None), user(3, ["Drama"]) | {"nombre_usuario": 'Bo, the "3rd"'}],
        movies=[title(50, ["War"]), title(51, ["Comedy"])],
        interactions=[deed(62, 4, 5.0), deed(62, 51, 4.0), deed(5, 51, 5.0), deed(0, 6, 5.0), deed(0, 9, None, "list")],
    )
