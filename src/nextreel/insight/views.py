"""What the dashboard and the Power BI report show: views of charts, each of named metrics, declared once for both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["figure", "bars", "columns", "lines", "heatmap", "shares", "table", "funnel", "intervals", "cohorts"]


@dataclass(frozen=True)
class Chart:
    """A chart of metrics by dimensions.

    ``kind``: a figure alone; bars (longest first); columns and lines along the first dimension, a series each of the
    second; a heat map over two; shares of a whole; a table; a funnel through its metrics; intervals (a metric, its
    lower and its upper end); cohorts, a heat map whose rows are each a whole. ``always`` are filters of its own.
    """

    name: str
    title: str
    kind: Kind
    metrics: Sequence[str]
    by: Sequence[str] = ()
    limit: int = 500
    always: Mapping[str, Sequence[str]] = field(default_factory=dict)
    note: str = ""
    wide: bool = False


@dataclass(frozen=True)
class View:
    """A page of charts."""

    name: str
    title: str
    doc: str
    charts: tuple[Chart, ...]


def _figures(*metrics: str) -> tuple[Chart, ...]:
    return tuple(Chart(f"figure_{name}", "", "figure", (name,)) for name in metrics)


_CURRENT = {"is_current": ("true",), "segment": ("all",)}
_OVERALL = {"segment": ("all",)}

VIEWS: tuple[View, ...] = (
    View(
        "recommendations",
        "Recommendations",
        "What everyone is recommended, by the last export.",
        (
            *_figures("recommendations", "recommended_users", "mean_predicted_rating", "coverage", "effective_titles"),
            Chart(
                "best_predicted", "Highest predicted ratings", "bars",
                ("mean_predicted_rating", "max_predicted_rating", "recommendations"), ("title",), 12,
                note="mean over the users whom the title is recommended to",
            ),
            Chart(
                "max_predicted", "Maximum predicted rating by title", "bars",
                ("max_predicted_rating", "mean_predicted_rating", "recommendations"), ("title",), 12,
                note="highest over the users whom the title is recommended to",
            ),
            Chart(
                "most_recommended", "Most recommended titles", "bars", ("recommendations", "mean_predicted_rating"),
                ("title",), 12,
            ),
            Chart("predicted_ratings", "Predicted ratings", "columns", ("recommendations",), ("rating",)),
            Chart("recommended_genres", "Recommended genres", "bars", ("recommendations",), ("genre",), 20),
            Chart("recommended_types", "Movies and series", "shares", ("recommendations",), ("type",)),
            Chart("recommended_decades", "Decades", "columns", ("recommendations",), ("decade",)),
            Chart(
                "coverage_by_genre", "Coverage by genre", "bars", ("coverage", "titles"), ("genre",), 20,
                note="share of the genre's titles that are in anybody's list",
            ),
            Chart(
                "rating_by_rank", "Predicted rating by rank", "lines", ("mean_predicted_rating",), ("rank",),
                note="ranking and rating are two questions: lists are ordered by what users will watch",
            ),
            Chart(
                "profiles", "User profiles", "table",
                ("interactions", "ratings", "mean_rating", "mean_predicted_rating"), ("user",), 50, wide=True,
            ),
        ),
    ),
    View(
        "content",
        "Content",
        "The catalogue: what is popular, and how it is liked.",
        (
            *_figures("titles", "interactions", "ratings", "mean_rating"),
            Chart("popular_titles", "Most popular titles", "bars", ("interactions", "mean_rating"), ("title",), 12),
            Chart("rating_values", "Ratings given", "columns", ("ratings",), ("rating",)),
            Chart(
                "genre_trends", "Genres over time", "lines", ("interactions",), ("month", "genre"), 10_000, wide=True,
            ),
            Chart("genres", "Genres", "bars", ("interactions", "mean_rating"), ("genre",), 20),
            Chart("types", "Movies against series", "shares", ("interactions",), ("type",)),
            Chart("decades", "Decades", "columns", ("interactions",), ("decade",)),
            Chart("age_ratings", "Age ratings", "bars", ("interactions",), ("age_rating",)),
            Chart("directors", "Directors", "bars", ("interactions", "mean_rating"), ("director",), 12),
            Chart("actors", "Actors", "bars", ("interactions", "mean_rating"), ("actor",), 12),
        ),
    ),
    View(
        "engagement",
        "Engagement",
        "What users do, when, on what, and whether they come back.",
        (
            *_figures("viewers", "interactions_per_user", "completion_rate", "skip_rate", "mean_percent_watched"),
            Chart(
                "when", "When people watch", "heatmap", ("interactions",), ("weekday", "hour"), note="UTC", wide=True,
            ),
            Chart("days", "Interactions a day", "lines", ("interactions", "viewers"), ("date",), 10_000, wide=True),
            Chart(
                "funnel", "From interaction to completion", "funnel", ("interactions", "starts", "completions"),
            ),
            Chart("verbs", "What users do", "bars", ("interactions",), ("verb",)),
            Chart("watched", "How much is watched", "columns", ("interactions",), ("watched",), note="percent"),
            Chart("devices", "Devices", "shares", ("interactions",), ("device",)),
            Chart("countries", "Countries", "bars", ("interactions", "viewers"), ("country",), 15),
            Chart("age_groups", "Age groups", "columns", ("interactions",), ("age_group",)),
            Chart("completion_by_genre", "Completion by genre", "bars", ("completion_rate", "starts"), ("genre",), 20),
            Chart(
                "retention", "Retention by month of subscription", "cohorts", ("viewers",), ("cohort", "months_since"),
                5_000, note="active users, as a share of the cohort", wide=True,
            ),
        ),
    ),
    View(
        "model",
        "Model",
        "How good the models are, on ratings that they have not seen.",
        (
            Chart("figure_ndcg", "", "figure", ("ndcg",), always=_CURRENT | {"judged": ("nextreel",)}),
            Chart("figure_recall", "", "figure", ("recall",), always=_CURRENT | {"judged": ("nextreel",)}),
            Chart("figure_rmse", "", "figure", ("rmse",), always=_CURRENT | {"judged": ("nextreel",)}),
            Chart("figure_mae", "", "figure", ("mae",), always=_CURRENT | {"judged": ("nextreel",)}),
            Chart(
                "ranking", "Lists beside their baselines", "intervals", ("ndcg", "ndcg_low", "ndcg_high"), ("judged",),
                always=_CURRENT, note="nDCG@10, with 95 % intervals: more is better",
            ),
            Chart(
                "accuracy", "Predicted ratings beside their baselines", "intervals", ("rmse", "rmse_low", "rmse_high"),
                ("judged",), always=_CURRENT, note="RMSE in stars, with 95 % intervals: less is better",
            ),
            Chart(
                "ranking_over_versions", "nDCG@10 over versions", "lines", ("ndcg",), ("version", "judged"),
                always=_OVERALL, wide=True,
            ),
            Chart(
                "accuracy_over_versions", "RMSE over versions", "lines", ("rmse",), ("version", "judged"),
                always=_OVERALL, wide=True,
            ),
            Chart(
                "calibration", "Predicted against actual", "lines", ("actual_rating", "judged_ratings"), ("predicted",),
                always={"is_current": ("true",)}, note="mean of held-out ratings, by what was predicted of them",
            ),
            Chart(
                "segments", "By how much users have rated", "intervals", ("ndcg", "ndcg_low", "ndcg_high"),
                ("segment",), always={"is_current": ("true",), "judged": ("nextreel",)}, note="nDCG@10",
            ),
        ),
    ),
)  # fmt: skip

BY_NAME: dict[str, View] = {view.name: view for view in VIEWS}
