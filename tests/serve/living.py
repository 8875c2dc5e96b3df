"""A small served model, and events for it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from nextreel.events.contract import EventType, fields_of
from nextreel.model.snapshot import Snapshot, by_rows
from nextreel.serve.live import Event, Live
from nextreel.settings import RatingsSettings, ServeSettings, TrainSettings
from nextreel.train.dataset import Dataset, Profiles, dataset
from nextreel.train.fit import fit_model
from nextreel.train.local import local_engine

START = datetime(2026, 3, 1, tzinfo=UTC)
N_USERS, N_TITLES = 60, 40
GENRES = ("Drama", "War", "Comedy")
AGES = ("PG", "R", None)
SETTINGS = TrainSettings(factors=8, iterations=4)
STRINGS = pa.list_(pa.string())


def user_ids() -> list[str]:
    return [f"u{n:02d}" for n in range(N_USERS)]


def title_ids() -> list[str]:
    return [f"t{n:02d}" for n in range(N_TITLES)]


def users() -> pa.Table:
    """Every fourth declares nothing; the others like one genre, by their number modulo three."""
    n = range(N_USERS)
    return pa.table(
        {
            "user_id": user_ids(),
            "username": [f"User {i}" for i in n],
            "genres": pa.array([None if i % 4 == 3 else [GENRES[i % 3]] for i in n], STRINGS),
            **dict.fromkeys(("directors", "actors", "decades"), pa.nulls(N_USERS, STRINGS)),
            "age_rating": pa.nulls(N_USERS, pa.string()),
            "updated_at": pa.array([START] * N_USERS, pa.timestamp("us", tz="UTC")),
        }
    )


def titles() -> pa.Table:
    n = range(N_TITLES)
    return pa.table(
        {
            "content_id": title_ids(),
            "type": ["series" if i % 5 == 0 else "movie" for i in n],
            "title": [f"Title {i}" for i in n],
            "genres": pa.array([[GENRES[i % 3]] for i in n], STRINGS),
            **dict.fromkeys(("directors", "actors"), pa.nulls(N_TITLES, STRINGS)),
            "decades": pa.array([["1990s"]] * N_TITLES, STRINGS),
            "age_rating": pa.array([AGES[i % 3] for i in n], pa.string()),
            "updated_at": pa.array([START] * N_TITLES, pa.timestamp("us", tz="UTC")),
        }
    )


def ratings(seed: int = 5) -> Dataset:
    """Users like one genre: the title's number modulo three, like their own. The first two have rated nothing."""
    rng = np.random.default_rng(seed)
    user, title = np.nonzero(rng.random((N_USERS, N_TITLES)) < 0.25)
    kept = user >= 2
    user, title = user[kept], title[kept]
    rating = np.where(user % 3 == title % 3, 4.5, 2.0) + rng.integers(-1, 2, len(user)) / 2
    times = [START - timedelta(hours=int(h)) for h in rng.integers(1, 2000, len(user))]
    table = pa.table(
        {
            "user_id": [f"u{u:02d}" for u in user],
            "content_id": [f"t{t:02d}" for t in title],
            "rating": rating,
            "timestamp": pa.array(times, pa.timestamp("us", tz="UTC")),
            "source": np.where(rng.random(len(user)) < 0.8, "observed", "implicit"),
        }
    )
    return dataset(table, user_ids(), title_ids())


def live(data: Dataset | None = None) -> Live:
    data = data or ratings()
    model = fit_model(data, SETTINGS, local_engine(), profiles=Profiles.of(data, users(), titles()))
    snapshot = Snapshot(
        by_rows(users(), "user_id", data.user_ids), by_rows(titles(), "content_id", data.title_ids), data.history()
    )
    return Live("20260301T000000-000", model, snapshot, RatingsSettings(), ServeSettings())


def event(kind: EventType, minute: float, offset: int = 0, **values: Any) -> Event:
    """An event, so many minutes after the start; what is not said is null."""
    said = {"type": kind, "timestamp": START + timedelta(minutes=minute)} | values
    in_order = tuple(said.get(field.name) for field in fields_of(kind))
    return Event(kind, in_order, int((START.timestamp() + 60 * minute) * 1e3), 0, offset)


def deed(minute: float, user: str, title: str, verb: str = "rate", stars: float | None = None, **other: Any) -> Event:
    given: dict[str, Any] = {"id_usuario": user, "id_contenido": title, "evento": verb, "calificacion": stars}
    return event("interaction", minute, id=f"{user} {title} {minute} {verb}", **given, **other)


def new_user(minute: float, name: str, *genres: str) -> Event:
    return event("user", minute, id=name, nombre_usuario=name.title(), generos=list(genres) or None)


def new_title(minute: float, name: str, *genres: str, kind: EventType = "movie", **other: Any) -> Event:
    return event(kind, minute, id=name, titulo=name.title(), generos=list(genres), **other)


def names(state: Live, rows: Sequence[int] | np.ndarray[Any, Any]) -> list[str]:
    return [state.titles.ids.name(int(row)) for row in rows]
