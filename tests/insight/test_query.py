"""Every metric by every dimension, under filters, against pandas over the same events; and its twin in DAX."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tests.insight.conftest import Open
from tests.insight.dax import Relationships, Tables, as_dax, in_dax
from tests.insight.filling import GENRES, START, Filling, random_world

from nextreel.insight.export import write_recommendations
from nextreel.insight.metrics import BY_NAME, DIMENSION, METRICS, Metric, Ratio
from nextreel.insight.query import Filters, measure
from nextreel.insight.warehouse import Warehouse
from nextreel.model.lists import SCHEMA
from nextreel.settings import Settings, load

ABOUT_MODELS = ("model", "calibration")
ABOUT_USERS_AND_TITLES = [m for m in METRICS if not (isinstance(m, Metric) and m.fact in ABOUT_MODELS)]


class Frames:
    """The star in pandas, made from the events themselves: no line of it is the product's."""

    def __init__(self, filling: Filling, recommended: pd.DataFrame):
        users = self._newest(filling, "user").rename(
            columns={"id": "user", "pais": "country", "grupo_edad": "age_group"}
        )
        subscribed = pd.to_datetime(users["fecha_suscripcion"], errors="coerce")
        users["subscribed"], users["cohort"] = subscribed, subscribed.dt.strftime("%Y-%m")
        titles = self._newest(filling, "movie", "series").rename(
            columns={"id": "title", "decada_lanzamiento": "decade", "clasificacion": "age_rating", "generos": "genre",
                     "directores": "director", "actores": "actor"}
        )  # fmt: skip
        deeds = pd.DataFrame(filling.events["interaction"])
        deeds = deeds.sort_values(["timestamp", "kafka_timestamp", "porcentaje_visto", "dispositivo"])
        deeds = deeds.drop_duplicates(["id_usuario", "id_contenido", "evento", "id"], keep="last").rename(
            columns={"id_usuario": "user", "id_contenido": "title", "evento": "verb", "dispositivo": "device"}
        )
        deeds["at"] = deeds["timestamp"].dt.tz_localize(None)
        known_users = pd.DataFrame({"user": sorted({*users["user"], *deeds["user"], *recommended["user"]})})
        known_titles = pd.DataFrame({"title": sorted({*titles["title"], *deeds["title"], *recommended["title"]})})
        self.users = known_users.merge(users, how="left", on="user")
        self.titles = known_titles.merge(titles, how="left", on="title")
        rated = deeds[deeds["verb"] == "rate"].sort_values(["timestamp", "kafka_timestamp", "id", "calificacion"])
        self.ratings = rated.drop_duplicates(["user", "title"], keep="last").rename(columns={"calificacion": "rating"})
        self.deeds, self.recommended = deeds, recommended

    @staticmethod
    def _newest(filling: Filling, *kinds: str) -> pd.DataFrame:
        rows = pd.DataFrame([event for kind in kinds for event in filling.events[kind]])  # type: ignore[index]
        order = ["timestamp", "kafka_timestamp", "kafka_partition", "kafka_offset"]
        return rows.sort_values(order).drop_duplicates("id", keep="last")

    def fact(self, name: str) -> pd.DataFrame:
        """Return a fact with all of its users' and titles' columns."""
        about_users = self.users[["user", "country", "age_group", "cohort", "subscribed"]]
        about_titles = self.titles[["title", "type", "genre", "decade", "age_rating", "director", "actor"]]
        if name == "user":
            return about_users
        if name == "title":
            return about_titles
        own = {"interaction": self.deeds, "rating": self.ratings, "recommendation": self.recommended}[name]
        kept = ["id", "user", "title", "at", "verb", "device", "porcentaje_visto", "rating", "rank", "predicted_rating"]
        found = own[[c for c in kept if c in own]].merge(about_users, on="user").merge(about_titles, on="title")
        if name != "recommendation":
            found["hour"], found["weekday"] = found["at"].dt.hour, found["at"].dt.dayofweek + 1
            found["date"], found["month"] = found["at"].dt.date, found["at"].dt.strftime("%Y-%m")
        if name == "interaction":
            found["watched"] = (found["porcentaje_visto"] // 10 * 10).clip(upper=90)
            since = [
                (at.year - day.year) * 12 + at.month - day.month if pd.notna(day) else None
                for at, day in zip(found["at"], found["subscribed"], strict=True)
            ]
            found["months_since"] = since
        if name == "recommendation":
            found["rating"] = np.floor(found["predicted_rating"] * 2 + 0.5) / 2
        return found


def value(metric: str, rows: pd.DataFrame) -> Any:
    """Return a metric over rows of its fact, in pandas."""
    verbs: Any = rows.get("verb")
    counts: Any = rows["title"].value_counts() if "title" in rows else None
    ways: dict[str, Callable[[], Any]] = {
        **dict.fromkeys(("recommendations", "interactions", "ratings", "titles", "users"), lambda: len(rows)),
        **dict.fromkeys(("recommended_users", "raters", "viewers"), lambda: rows["user"].nunique()),
        "recommended_titles": lambda: rows["title"].nunique(),
        "mean_predicted_rating": lambda: rows["predicted_rating"].mean(),
        "max_predicted_rating": lambda: rows["predicted_rating"].max(),
        "effective_titles": lambda: 1 / ((counts / counts.sum()) ** 2).sum(),
        "mean_rating": lambda: rows["rating"].mean(),
        "plays": lambda: (verbs == "play").sum(),
        "completions": lambda: (verbs == "complete").sum(),
        "listings": lambda: (verbs == "list").sum(),
        "skips": lambda: (verbs == "skip").sum(),
        "starts": lambda: verbs.isin(["play", "complete"]).sum(),
        "mean_percent_watched": lambda: rows["porcentaje_visto"].mean(),
    }
    return ways[metric]()


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, open_warehouse: Open) -> tuple[Warehouse, Frames]:
    settings: Settings = load({"home": str(tmp_path_factory.mktemp("home"))}, {})
    filling = Filling(settings.lake)
    random_world(filling)
    filling.commit()
    rng = np.random.default_rng(0)
    rows = [
        {
            "user": f"u{user:03d}",
            "rank": rank + 1,
            "title": f"t{title:03d}",
            "predicted_rating": round(5 * rng.random(), 2),
        }
        for user in range(38)
        for rank, title in enumerate(rng.choice(25, 4, replace=False).tolist())
    ]
    recommended = pd.DataFrame(rows)
    recommended["predicted_rating"] = recommended["predicted_rating"].astype(np.float32)
    columns = recommended.rename(columns={"user": "user_id", "title": "content_id"})
    for name in ("username", "title", "type"):
        columns[name] = "x"
    columns["genres"] = [[] for _ in rows]
    table = pa.Table.from_pandas(columns[SCHEMA.names], SCHEMA, preserve_index=False)
    write_recommendations([table], settings.exports, "20260301T120000-000")
    warehouse = open_warehouse(settings)
    assert warehouse.refresh()
    return warehouse, Frames(filling, recommended)


def close(found: Any, wanted: Any) -> bool:
    if wanted is None or (isinstance(wanted, float) and np.isnan(wanted)):
        return found is None
    return bool(found == pytest.approx(float(wanted), rel=1e-6))


def groups(rows: pd.DataFrame, by: str) -> dict[Any, pd.DataFrame]:
    """Return rows by a dimension's value; those of a title with several are in each."""
    if by in ("genre", "director", "actor"):
        rows = rows.explode(by).dropna(subset=[by])
    missing = "there is none"
    found = dict(list(rows.groupby(rows[by].astype(object).where(rows[by].notna(), missing))))
    return {None if key == missing else key: part for key, part in found.items()}


METRICS_BY = [
    (m.name, d.name)
    for m, d in itertools.product(ABOUT_USERS_AND_TITLES, DIMENSION.values())
    if isinstance(m, Metric) and m.fact in d.sql
]


@pytest.mark.parametrize(("metric", "by"), METRICS_BY)
def test_a_metric_by_a_dimension_is_what_pandas_says(given: tuple[Warehouse, Frames], metric: str, by: str) -> None:
    warehouse, frames = given
    fact = BY_NAME[metric].fact  # type: ignore[union-attr]
    wanted = {_key(key): value(metric, part) for key, part in groups(frames.fact(fact), by).items()}
    found = {_key(key): figure for key, figure in measure(warehouse.cursor(), [metric], [by]).rows}
    assert found.keys() == wanted.keys()
    for key, figure in wanted.items():
        assert close(found[key], figure), (key, figure)


def _key(key: Any) -> Any:
    """Return a value that is the same however DuckDB and pandas keep it."""
    if key is None or pd.isna(key):
        return None
    return float(key) if isinstance(key, int | float | np.number) else str(key)


FILTERS = {
    "none": Filters(),
    "genre": Filters({"genre": ["Drama", GENRES[3]]}),
    "country and type": Filters({"country": ["Spain", ""], "type": ["movie"]}),
    "device": Filters({"device": ["tv"]}),
    "actor": Filters({"actor": ["Cy"]}),
    "time": Filters(since=START.date().replace(day=5), until=START.date().replace(day=20)),
    "stars": Filters(least_stars=2.0, most_stars=4.0),
    "rating": Filters({"rating": ["4", "2.5"]}),
    "nothing": Filters({"title": ["there is none"]}),
}


def filtered(rows: pd.DataFrame, fact: str, filters: Filters) -> pd.DataFrame:
    for name, chosen in filters.chosen.items():
        if name in rows and fact in DIMENSION[name].sql:
            if name in ("genre", "director", "actor"):
                kept = rows[name].map(
                    lambda own, chosen=chosen: bool({*(own or [])} & {*chosen}) if isinstance(own, list) else False
                )
            elif name == "rating":
                kept = rows[name].isin([float(stars) for stars in chosen])
            else:
                kept = rows[name].fillna("").isin(chosen)
            rows = rows[kept]
    if "at" in rows:
        if filters.since:
            rows = rows[rows["at"].dt.date >= filters.since]
        if filters.until:
            rows = rows[rows["at"].dt.date <= filters.until]
    stars = {"rating": "rating", "recommendation": "predicted_rating"}.get(fact)
    if stars and filters.least_stars is not None:
        rows = rows[(rows[stars] >= filters.least_stars) & (rows[stars] <= filters.most_stars)]
    return rows


@pytest.mark.parametrize("metric", [m.name for m in ABOUT_USERS_AND_TITLES])
@pytest.mark.parametrize("name", FILTERS)
def test_a_metric_under_filters_is_what_pandas_says(given: tuple[Warehouse, Frames], metric: str, name: str) -> None:
    warehouse, frames = given
    own = BY_NAME[metric]

    def one(part: str) -> Any:
        fact = BY_NAME[part].fact  # type: ignore[union-attr]
        rows = filtered(frames.fact(fact), fact, FILTERS[name])
        if not len(rows) and BY_NAME[part].unit not in ("count", "titles"):
            return None
        return value(part, rows) if len(rows) or part != "effective_titles" else None

    if isinstance(own, Ratio):
        top, bottom = one(own.numerator), one(own.denominator)
        wanted = top / bottom if bottom else None
    else:
        wanted = one(metric)
    ((found,),) = measure(warehouse.cursor(), [metric], (), FILTERS[name]).rows
    assert close(found, wanted), (found, wanted)


def test_a_breakdown_shows_what_its_own_filter_leaves_out(given: tuple[Warehouse, Frames]) -> None:
    cursor = given[0].cursor()
    plain = measure(cursor, ["interactions"], ["type"])
    assert measure(cursor, ["interactions"], ["type"], Filters({"type": ["movie"]})) == plain
    less = measure(cursor, ["interactions"], ["device"], Filters({"type": ["movie"]})).rows
    assert sum(n for _, n in less) == dict(plain.rows)["movie"]


def test_filters_hold_where_a_fact_has_their_dimension() -> None:
    filters = Filters({"device": ["tv"], "genre": ["Drama"]}, since=START.date(), least_stars=3.0)
    assert filters.holds_for("interaction") == ["device", "genre", "time"]
    assert filters.holds_for("recommendation") == ["genre", "stars"]
    assert filters.holds_for("user") == []


def test_a_metric_is_not_broken_down_by_what_it_does_not_know(given: tuple[Warehouse, Frames]) -> None:
    with pytest.raises(ValueError, match="Recommendations is not known by device"):
        measure(given[0].cursor(), ["recommendations"], ["device"])
    with pytest.raises(KeyError):
        measure(given[0].cursor(), ["drop table"], [])


def test_the_first_of_many_are_the_greatest(given: tuple[Warehouse, Frames]) -> None:
    cursor = given[0].cursor()
    everyone = measure(cursor, ["interactions", "viewers"], ["title"]).rows
    assert everyone == sorted(everyone, key=lambda row: (-row[1], row[0]))
    assert measure(cursor, ["interactions", "viewers"], ["title"], limit=5).rows == everyone[:5]
    by_rate = measure(cursor, ["completion_rate"], ["title"], limit=5).rows
    assert [r for _, r in by_rate] == sorted((r for _, r in by_rate), reverse=True)


def test_of_several_facts_the_greatest_of_the_first_have_the_others_figures(given: tuple[Warehouse, Frames]) -> None:
    cursor = given[0].cursor()
    both = ["interactions", "ratings", "mean_predicted_rating"]
    for by in ("title", "user", "country"):
        everyone = measure(cursor, both, [by]).rows
        for limit in (1, 3, len(everyone)):
            assert measure(cursor, both, [by], limit=limit).rows == everyone[:limit]


def test_of_what_has_an_order_the_last_are_kept(given: tuple[Warehouse, Frames]) -> None:
    cursor = given[0].cursor()
    days = measure(cursor, ["interactions"], ["date"]).rows
    assert measure(cursor, ["interactions"], ["date"], limit=5).rows == days[-5:]


def test_too_many_rows_are_refused(given: tuple[Warehouse, Frames], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextreel.insight.query.MOST_GROUPS", 10)
    with pytest.raises(ValueError, match="more than 10 rows"):
        measure(given[0].cursor(), ["completion_rate"], ["user", "title"], limit=1)


@pytest.mark.parametrize("hostile", ["'; DROP TABLE users; --", "<script>", "=cmd", "\x00", "💥" * 1000, "%", "\\"])
def test_hostile_values_are_values(given: tuple[Warehouse, Frames], hostile: str) -> None:
    cursor = given[0].cursor()
    for name in DIMENSION:
        found = measure(cursor, ["interactions", "recommendations", "ratings"], (), Filters({name: [hostile]}))
        assert len(found.rows) == 1
    assert measure(cursor, ["users"]).rows[0][0] > 0


# The same in DAX


#: Filters of the dashboard, and the same in Power BI: values of columns.
IN_DAX: dict[str, dict[str, list[Any]]] = {
    "none": {},
    "genre": {"dim_genre.genre": ["Drama", GENRES[3]]},
    "country and type": {"dim_user.country": ["Spain", None], "dim_title.type": ["movie"]},
    "device": {"fact_interaction.device": ["tv"]},
    "nothing": {"dim_title.content_id": ["there is none"]},
}


@pytest.fixture(scope="module")
def dax(given: tuple[Warehouse, Frames]) -> tuple[Tables, Relationships]:
    return as_dax(given[0])


@pytest.mark.parametrize("metric", [m.name for m in ABOUT_USERS_AND_TITLES])
@pytest.mark.parametrize("name", IN_DAX)
def test_a_measure_in_dax_is_its_twin_in_sql(
    given: tuple[Warehouse, Frames], dax: tuple[Tables, Relationships], metric: str, name: str
) -> None:
    found = in_dax(*dax, metric, IN_DAX[name])
    ((wanted,),) = measure(given[0].cursor(), [metric], (), FILTERS[name]).rows
    assert (found or 0) == pytest.approx(float(wanted or 0), rel=1e-6)
