"""Metrics of models, in SQL and in DAX, against what the evaluations say."""

import statistics
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from tests.insight.conftest import Open
from tests.insight.dax import Relationships, Tables, as_dax, in_dax
from tests.serve.living import live

from nextreel.insight.metrics import METRICS, Metric
from nextreel.insight.query import Filters, measure
from nextreel.insight.warehouse import Warehouse
from nextreel.model.store import ModelStore
from nextreel.settings import load

SEGMENTS = ("all", "light", "heavy")
ENDS = ("", "_low", "_high")
JUDGED = [(metric, place) for metric in ("ndcg", "recall", "rmse", "mae") for place in range(len(ENDS))]
#: A metric's name: what it is in an evaluation, and which of a figure and the ends of its interval.
NAMES = {f"{metric}{ENDS[place]}": (metric, place) for metric, place in JUDGED} | {"list_coverage": ("coverage", 0)}


class Said(NamedTuple):
    """A figure of an evaluation, and the ends of its interval."""

    version: str
    judged: str
    segment: str
    metric: str
    figures: tuple[float, float, float]


class Bin(NamedTuple):
    """Held-out ratings of which about the same was predicted."""

    version: str
    predicted: float
    actual: float
    n: int


class Given(NamedTuple):
    """A warehouse, and what the evaluations in it say."""

    warehouse: Warehouse
    said: list[Said]
    bins: list[Bin]
    versions: list[str]


def evaluation(rng: np.random.Generator) -> dict[str, Any]:
    """Return an evaluation as model.json has it."""

    def quality() -> dict[str, Any]:
        whos = {"ranking": ("als", "popularity"), "accuracy": ("als", "bias")}
        metrics = {"ranking": ("ndcg", "recall", "coverage"), "accuracy": ("rmse", "mae")}
        drawn = {
            g: {who: dict(zip(m, rng.random(len(m)).tolist(), strict=True)) for who in whos[g]}
            for g, m in metrics.items()
        }
        ends = {
            g: {who: {m: [v - 0.1, v + 0.2] for m, v in each.items()} for who, each in own.items()}
            for g, own in drawn.items()
        }
        return drawn | {"intervals": ends}

    bins = [
        {"predicted": p, "actual": p + rng.random(), "n_ratings": int(rng.integers(1, 90))} for p in (2.5, 3.0, 3.5)
    ]
    return quality() | {"segments": {name: quality() for name in SEGMENTS[1:]}, "calibration": bins}


def figures(version: str, found: dict[str, Any]) -> Iterator[Said]:
    for segment, quality in {"all": found, **found["segments"]}.items():
        for group in ("ranking", "accuracy"):
            for who, each in quality[group].items():
                for metric, value in each.items():
                    low, high = quality["intervals"][group][who][metric]
                    yield Said(version, "nextreel" if who == "als" else who, segment, metric, (value, low, high))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, open_warehouse: Open) -> Given:
    settings = load({"home": str(tmp_path_factory.mktemp("models"))}, {})
    store, rng, small = ModelStore(settings.models), np.random.default_rng(1), live()
    told = [evaluation(rng) for _ in range(3)]
    versions = [store.save(small.model, {"evaluation": each}) for each in told]
    store.promote(versions[1])
    warehouse = open_warehouse(settings)
    assert warehouse.refresh()
    said = [one for version, each in zip(versions, told, strict=True) for one in figures(version, each)]
    bins = [
        Bin(v, b["predicted"], b["actual"], b["n_ratings"])
        for v, e in zip(versions, told, strict=True)
        for b in e["calibration"]
    ]
    return Given(warehouse, said, bins, versions)


@pytest.fixture(scope="module")
def dax(given: Given) -> tuple[Tables, Relationships]:
    return as_dax(given.warehouse)


@pytest.mark.parametrize(
    "metric", [m.name for m in METRICS if isinstance(m, Metric) and m.fact in ("model", "calibration")]
)
@pytest.mark.parametrize("which", ["all", "current", "oldest"])
def test_a_metric_is_what_the_evaluations_say(
    given: Given, dax: tuple[Tables, Relationships], metric: str, which: str
) -> None:
    kept = {"all": given.versions, "current": given.versions[1:2], "oldest": given.versions[:1]}[which]
    of_models = {"all": {}, "current": {"is_current": ["true"]}, "oldest": {"version": kept}}[which]
    if metric in NAMES:
        name, place = NAMES[metric]
        chosen = of_models | {"judged": ["nextreel"], "segment": ["light"]}
        wanted = statistics.mean(
            [
                s.figures[place]
                for s in given.said
                if (s.metric, s.judged, s.segment) == (name, "nextreel", "light") and s.version in kept
            ]
        )
    else:
        chosen, bins = of_models, [b for b in given.bins if b.version in kept]
        n = sum(b.n for b in bins)
        wanted = n if metric == "judged_ratings" else sum(b.actual * b.n for b in bins) / n
    ((found,),) = measure(given.warehouse.cursor(), [metric], (), Filters(chosen)).rows
    assert found == pytest.approx(wanted)
    table = "model_metric" if metric in NAMES else "model_calibration"
    columns = {"is_current": f"{table}.is_current", "version": f"{table}.model_version"}
    values: dict[str, list[Any]] = {"is_current": [True], "version": kept}
    asked = {columns.get(k, f"{table}.{k}"): values.get(k, v) for k, v in chosen.items()}
    assert in_dax(*dax, metric, asked) == pytest.approx(wanted)


def test_bins_are_told_apart(given: Given) -> None:
    rows = measure(given.warehouse.cursor(), ["actual_rating", "judged_ratings"], ["predicted"]).rows
    for predicted, actual, n in rows:
        own = [b for b in given.bins if b.predicted == predicted]
        assert n == sum(b.n for b in own)
        assert actual == pytest.approx(sum(b.actual * b.n for b in own) / n)
    assert len(rows) == 3
