"""Named metrics and what they are broken down by, each defined once: for the dashboard, the API and Power BI alike.

A metric is an aggregate over one fact of the star (`nextreel.insight.star`), in SQL over the warehouse's tables and in
DAX over the exported ones; or a ratio of two others. In SQL the fact is ``f``, its title ``t`` and its user ``u``.
"""

from dataclasses import dataclass, field
from typing import Literal

Fact = Literal["recommendation", "interaction", "rating", "title", "user", "model", "calibration"]
Unit = Literal["count", "stars", "share", "percent", "titles", "score"]


@dataclass(frozen=True)
class Metric:
    """A figure: its name, its title, what it says, its unit, and how it is computed."""

    name: str
    title: str
    doc: str
    unit: Unit
    fact: Fact
    sql: str
    dax: str


@dataclass(frozen=True)
class Ratio:
    """One metric by another, each under the same filters and within the same groups.

    Where the denominator does not know a group, it is that of all.
    """

    name: str
    title: str
    doc: str
    unit: Unit
    numerator: str
    denominator: str

    @property
    def dax(self) -> str:
        """The measure in DAX."""
        return f"DIVIDE([{BY_NAME[self.numerator].title}], [{BY_NAME[self.denominator].title}])"


def _judged(metric: str, title: str, doc: str) -> tuple[Metric, ...]:
    """Return a metric of models, and both ends of its interval."""
    dax = 'CALCULATE(AVERAGE(model_metric[{}]), model_metric[metric] = "{}")'
    return tuple(
        Metric(
            f"{metric}{end}", f"{title}{name}", f"{doc}{what}.", "score", "model",
            f"avg(f.{column}) FILTER (f.metric = '{metric}')", dax.format(column, metric),
        )
        for end, name, what, column in (
            ("", "", "", "value"),
            ("_low", " (low)", ": lower end of its 95 % bootstrap interval", "low"),
            ("_high", " (high)", ": upper end of its 95 % bootstrap interval", "high"),
        )
    )  # fmt: skip


_VERB = 'CALCULATE(COUNTROWS(fact_interaction), fact_interaction[verb] = "{}")'

METRICS: tuple[Metric | Ratio, ...] = (
    # Recommendations
    Metric(
        "recommendations", "Recommendations", "Recommendations in everyone's lists.", "count", "recommendation",
        "count(*)", "COUNTROWS(fact_recommendation)",
    ),
    Metric(
        "recommended_titles", "Recommended titles", "Titles that are in anybody's list.", "titles", "recommendation",
        "count(DISTINCT f.title_key)", "DISTINCTCOUNT(fact_recommendation[content_id])",
    ),
    Metric(
        "recommended_users", "Users with recommendations", "Users who have a list.", "count", "recommendation",
        "count(DISTINCT f.user_key)", "DISTINCTCOUNT(fact_recommendation[user_id])",
    ),
    Metric(
        "mean_predicted_rating", "Mean predicted rating", "Mean of the ratings predicted for what is recommended.",
        "stars", "recommendation",
        "avg(f.predicted_rating::DOUBLE)", "AVERAGE(fact_recommendation[predicted_rating])",
    ),
    Metric(
        "max_predicted_rating", "Maximum predicted rating",
        "Highest of the ratings predicted for what is recommended.", "stars", "recommendation",
        "max(f.predicted_rating::DOUBLE)", "MAX(fact_recommendation[predicted_rating])",
    ),
    Metric(
        "effective_titles", "Effective titles",
        "How many titles the lists would have if all were recommended equally often: 1 / Σ share², the inverse of "
        "the Herfindahl index of concentration.",
        "titles", "recommendation",
        "count(*)::DOUBLE * count(*) / list_sum([n::DOUBLE * n for n in map_values(histogram(f.title_key))])",
        "VAR listed = SUMMARIZE(fact_recommendation, fact_recommendation[content_id], \"n\", "
        "COUNTROWS(fact_recommendation)) RETURN DIVIDE(SUMX(listed, [n]) * SUMX(listed, [n]), "
        "SUMX(listed, [n] * [n]))",
    ),
    Ratio(
        "coverage", "Coverage", "Share of the catalogue that is in anybody's list.", "share",
        "recommended_titles", "titles",
    ),
    # Content
    Metric("titles", "Titles", "Titles of the catalogue.", "titles", "title", "count(*)", "COUNTROWS(dim_title)"),
    Metric(
        "ratings", "Ratings", "Newest ratings of a user and a title.", "count", "rating",
        "count(*)", "COUNTROWS(fact_rating)",
    ),
    Metric(
        "mean_rating", "Mean rating", "Mean of the ratings that users gave.", "stars", "rating",
        "avg(f.rating::DOUBLE)", "AVERAGE(fact_rating[rating])",
    ),
    Metric(
        "raters", "Raters", "Users who have rated anything.", "count", "rating",
        "count(DISTINCT f.user_key)", "DISTINCTCOUNT(fact_rating[user_id])",
    ),
    # Engagement
    Metric(
        "interactions", "Interactions", "What users did: plays, completions, ratings, listings and skips.", "count",
        "interaction", "count(*)", "COUNTROWS(fact_interaction)",
    ),
    Metric(
        "viewers", "Active users", "Users who did anything.", "count", "interaction",
        "count(DISTINCT f.user_key)", "DISTINCTCOUNT(fact_interaction[user_id])",
    ),
    Metric(
        "plays", "Plays", "Titles begun.", "count", "interaction",
        "count(*) FILTER (f.verb = 'play')", f"{_VERB.format('play')} + 0",
    ),
    Metric(
        "completions", "Completions", "Titles watched to the end.", "count", "interaction",
        "count(*) FILTER (f.verb = 'complete')", f"{_VERB.format('complete')} + 0",
    ),
    Metric(
        "listings", "Listings", "Titles put on a list to watch.", "count", "interaction",
        "count(*) FILTER (f.verb = 'list')", f"{_VERB.format('list')} + 0",
    ),
    Metric(
        "skips", "Skips", "Titles skipped.", "count", "interaction",
        "count(*) FILTER (f.verb = 'skip')", f"{_VERB.format('skip')} + 0",
    ),
    Metric(
        "mean_percent_watched", "Mean percentage watched", "How much was watched, where an interaction says so.",
        "percent", "interaction",
        "avg(f.percent_watched::DOUBLE)", "AVERAGE(fact_interaction[percent_watched])",
    ),
    Ratio(
        "completion_rate", "Completion rate", "Completions for each interaction that began or ended a title.", "share",
        "completions", "starts",
    ),
    Metric(
        "starts", "Starts", "Plays and completions: each is a title begun.", "count", "interaction",
        "count(*) FILTER (f.verb IN ('play', 'complete'))",
        "CALCULATE(COUNTROWS(fact_interaction), fact_interaction[verb] IN {\"play\", \"complete\"}) + 0",
    ),
    Ratio("skip_rate", "Skip rate", "Skips of all interactions.", "share", "skips", "interactions"),
    Ratio(
        "interactions_per_user", "Interactions per active user", "Interactions for each user who did anything.",
        "count", "interactions", "viewers",
    ),
    # Users
    Metric("users", "Users", "Users, active or not.", "count", "user", "count(*)", "COUNTROWS(dim_user)"),
    Ratio("retention", "Retention", "Share of a cohort's users who were active.", "share", "viewers", "users"),
    # Models
    *_judged("ndcg", "nDCG@10", "Normalised discounted cumulative gain of lists of ten, on held-out ratings"),
    *_judged("recall", "Recall@10", "Share of the held-out titles that lists of ten have"),
    *_judged("rmse", "RMSE", "Root mean squared error of predicted ratings, in stars, on held-out ratings"),
    *_judged("mae", "MAE", "Mean absolute error of predicted ratings, in stars, on held-out ratings"),
    Metric(
        "list_coverage", "Coverage of judged lists", "Share of the catalogue in the lists that were judged.", "share",
        "model", "avg(f.value) FILTER (f.metric = 'coverage')",
        "CALCULATE(AVERAGE(model_metric[value]), model_metric[metric] = \"coverage\")",
    ),
    Metric(
        "actual_rating", "Actual rating", "Mean of held-out ratings of which about the same was predicted.", "stars",
        "calibration", "sum(f.actual * f.n_ratings) / sum(f.n_ratings)",
        "DIVIDE(SUMX(model_calibration, model_calibration[actual] * model_calibration[n_ratings]), "
        "SUM(model_calibration[n_ratings]))",
    ),
    Metric(
        "judged_ratings", "Held-out ratings", "Held-out ratings that predictions were compared with.", "count",
        "calibration", "coalesce(sum(f.n_ratings), 0)::BIGINT", "SUM(model_calibration[n_ratings]) + 0",
    ),
)  # fmt: skip

BY_NAME: dict[str, Metric | Ratio] = {metric.name: metric for metric in METRICS}

_FACTS: tuple[Fact, ...] = ("recommendation", "interaction", "rating")
_ABOUT_TITLES: tuple[Fact, ...] = (*_FACTS, "title")
_ABOUT_USERS: tuple[Fact, ...] = (*_FACTS, "user")
_ABOUT_MODELS: tuple[Fact, ...] = ("model", "calibration")
_VERSION = "model_metric[model_version]"


@dataclass(frozen=True)
class Dimension:
    """What metrics are broken down by and filtered on: in SQL, for each fact that has it, and as a column of the star.

    ``through`` is the bridge that a title's values are in: a title may have several. ``order`` is "value" where values
    have an order of their own, else the metric's. ``columns`` are those of facts that keep it in one of their own.
    Values are grouped as they are, and shown and chosen as ``text``, SQL around them.
    """

    name: str
    title: str
    sql: dict[Fact, str]
    column: str
    through: str | None = None
    order: Literal["value", "metric"] = "metric"
    columns: dict[Fact, str] = field(default_factory=dict)
    text: str = ""
    is_number: bool = False

    @property
    def of(self) -> Literal["title", "user"] | None:
        """What has it: titles, users, or the rows of facts themselves."""
        about: dict[Fact, Literal["title", "user"]] = {"title": "title", "user": "user"}
        return next((about[fact] for fact in about if fact in self.sql), None)


def _same(facts: tuple[Fact, ...], sql: str) -> dict[Fact, str]:
    return dict.fromkeys(facts, sql)


_TIMED: dict[Fact, str] = {"interaction": "f.happened_at", "rating": "f.rated_at"}


def _by_time(sql: str) -> dict[Fact, str]:
    return {fact: sql.format(column) for fact, column in _TIMED.items()}


DIMENSIONS: tuple[Dimension, ...] = (
    Dimension("title", "Title", _same(_ABOUT_TITLES, "t.content_id"), "dim_title[title]"),
    Dimension("type", "Type", _same(_ABOUT_TITLES, "t.type"), "dim_title[type]"),
    Dimension("genre", "Genre", _same(_ABOUT_TITLES, "g.genre"), "dim_genre[genre]", "title_genres g"),
    Dimension("decade", "Decade", _same(_ABOUT_TITLES, "t.decade"), "dim_title[decade]", order="value"),
    Dimension("age_rating", "Age rating", _same(_ABOUT_TITLES, "t.age_rating"), "dim_title[age_rating]"),
    Dimension(
        "director", "Director", _same(_ABOUT_TITLES, "d.person"), "bridge_title_person[person]",
        "(FROM title_people WHERE role = 'director') d",
    ),
    Dimension(
        "actor", "Actor", _same(_ABOUT_TITLES, "a.person"), "bridge_title_person[person]",
        "(FROM title_people WHERE role = 'actor') a",
    ),
    Dimension("user", "User", _same(_ABOUT_USERS, "u.user_id"), "dim_user[username]"),
    Dimension("country", "Country", _same(_ABOUT_USERS, "u.country"), "dim_user[country]"),
    Dimension("age_group", "Age group", _same(_ABOUT_USERS, "u.age_group"), "dim_user[age_group]", order="value"),
    Dimension("cohort", "Subscribed in", _same(_ABOUT_USERS, "u.cohort"), "dim_user[cohort]", order="value"),
    Dimension(
        "rating", "Rating", {"rating": "f.rating::DOUBLE", "recommendation": "round(f.predicted_rating * 2) / 2"},
        "fact_rating[rating]", order="value", columns={"recommendation": "fact_recommendation[stars]"}, is_number=True,
    ),
    Dimension("rank", "Rank", {"recommendation": "f.rank"}, "fact_recommendation[rank]", order="value"),
    Dimension("verb", "Interaction", {"interaction": "f.verb"}, "fact_interaction[verb]"),
    Dimension("device", "Device", {"interaction": "f.device"}, "fact_interaction[device]"),
    Dimension(
        "watched", "Watched",
        {"interaction": "if(f.percent_watched >= 90, 90, 10 * floor(f.percent_watched / 10)::INTEGER)"},
        "fact_interaction[watched]", order="value",
    ),
    Dimension("hour", "Hour", {"interaction": "hour(f.happened_at)"}, "fact_interaction[hour]", order="value"),
    Dimension("weekday", "Weekday", _by_time("isodow({})"), "dim_date[weekday]", order="value"),
    Dimension("date", "Day", _by_time("{}::DATE"), "dim_date[date]", order="value"),
    Dimension(
        "month", "Month", _same(("interaction", "rating"), "f.month"), "dim_date[month]", order="value",
        text="strftime({}, '%Y-%m')",
    ),
    Dimension(
        "months_since", "Months since subscription",
        {"interaction": "datediff('month', u.subscribed, f.happened_at)"}, "fact_interaction[months_since]",
        order="value",
    ),
    Dimension("version", "Model version", _same(_ABOUT_MODELS, "f.model_version"), _VERSION, order="value"),
    Dimension(
        "is_current", "Current", _same(_ABOUT_MODELS, "f.is_current"), "model_metric[is_current]",
        columns={"calibration": "model_calibration[is_current]"},
    ),
    Dimension("judged", "Judged", {"model": "f.judged"}, "model_metric[judged]"),
    Dimension("segment", "Segment", {"model": "f.segment"}, "model_metric[segment]"),
    Dimension(
        "predicted", "Predicted rating", {"calibration": "f.predicted"}, "model_calibration[predicted]", order="value",
        is_number=True,
    ),
)  # fmt: skip

DIMENSION: dict[str, Dimension] = {dimension.name: dimension for dimension in DIMENSIONS}
