"""The star schema: what the dashboard, the exports and Power BI tell figures from. Each table and column, once.

Facts have a row an event or a recommendation and name users and titles by their ids, which are each once in the
dimensions. A title has several genres and people: they are in bridges, a row each.
"""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Kind = Literal["string", "whole", "number", "date", "time", "flag"]

_ARROW: dict[Kind, pa.DataType] = {
    "string": pa.string(),
    "whole": pa.int64(),
    "number": pa.float64(),
    "date": pa.date32(),
    "time": pa.timestamp("us"),
    "flag": pa.bool_(),
}


@dataclass(frozen=True)
class Column:
    """A column: its name, what it holds and what it says; a ``key`` tells rows apart, or names those of a dimension."""

    name: str
    kind: Kind
    doc: str
    key: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the star, and the SQL that selects its columns, in their order, from the warehouse's tables.

    Without SQL it is such a table itself.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    sql: str = ""

    @property
    def schema(self) -> pa.Schema:
        """Its columns in Arrow's types."""
        return pa.schema([(column.name, _ARROW[column.kind]) for column in self.columns])


_JOINED = "array_to_string({}, '|')"
_USER_ID = Column("user_id", "string", "the user", key=True)
_CONTENT_ID = Column("content_id", "string", "the title", key=True)
_DATE = Column("date", "date", "the day, in UTC", key=True)

STAR: tuple[Table, ...] = (
    Table(
        "dim_user",
        "Users as they are now: the newest event of each, and those who are only known by what they did.",
        (
            _USER_ID,
            Column("username", "string", "name to show"),
            Column("country", "string", "country"),
            Column("age_group", "string", "age group"),
            Column("subscribed", "date", "when the user subscribed"),
            Column("cohort", "string", "the month of that, as 2026-01"),
            Column("age_rating", "string", "age rating that the user prefers"),
            Column("genres", "string", "genres that the user likes, joined by |"),
            Column("directors", "string", "directors, likewise"),
            Column("actors", "string", "actors, likewise"),
            Column("decades", "string", "decades, likewise"),
            Column("updated_at", "time", "the time of the newest event"),
        ),
        f"""SELECT user_id, coalesce(username, user_id), country, age_group, subscribed, cohort, age_rating,
            {_JOINED.format("genres")}, {_JOINED.format("directors")}, {_JOINED.format("actors")},
            {_JOINED.format("decades")}, updated_at FROM users ORDER BY user_id""",
    ),
    Table(
        "dim_title",
        "Movies and series as they are now, and those that are only known by what was done with them.",
        (
            _CONTENT_ID,
            Column("title", "string", "name to show"),
            Column("type", "string", "movie or series"),
            Column("decade", "string", "decade of release, as 1990s"),
            Column("age_rating", "string", "age rating, as PG-13"),
            Column("seasons", "whole", "seasons of a series"),
            Column("episodes", "whole", "episodes of a series"),
            Column("genres", "string", "genres, joined by |"),
            Column("directors", "string", "directors, likewise"),
            Column("actors", "string", "actors, likewise"),
            Column("updated_at", "time", "the time of the newest event"),
        ),
        f"""SELECT content_id, coalesce(title, content_id), type, decade, age_rating, seasons, episodes,
            {_JOINED.format("genres")}, {_JOINED.format("directors")}, {_JOINED.format("actors")}, updated_at
            FROM titles ORDER BY content_id""",
    ),
    Table(
        "dim_genre",
        "Genres of titles.",
        (Column("genre", "string", "the genre", key=True),),
        "SELECT DISTINCT genre FROM title_genres ORDER BY genre",
    ),
    Table(
        "dim_date",
        "Every day from the first interaction to the last.",
        (
            _DATE,
            Column("year", "whole", "year"),
            Column("quarter", "string", "quarter, as 2026 Q1"),
            Column("month", "string", "month, as 2026-01"),
            Column("weekday", "whole", "day of the week, 1 Monday to 7 Sunday"),
            Column("weekday_name", "string", "its name"),
        ),
        """SELECT day::DATE, year(day), year(day) || ' Q' || quarter(day), strftime(day, '%Y-%m'), isodow(day),
            dayname(day) FROM (SELECT unnest(generate_series(min(happened_at)::DATE, max(happened_at)::DATE,
            INTERVAL 1 DAY)) AS day FROM interactions) ORDER BY day""",
    ),
    Table(
        "bridge_title_genre",
        "Which title has which genre.",
        (_CONTENT_ID, Column("genre", "string", "the genre", key=True)),
        "SELECT content_id, genre FROM title_genres JOIN titles USING (title_key) ORDER BY ALL",
    ),
    Table(
        "bridge_title_person",
        "Who made which title.",
        (
            _CONTENT_ID,
            Column("role", "string", "director or actor"),
            Column("person", "string", "the person's name"),
        ),
        "SELECT content_id, role, person FROM title_people JOIN titles USING (title_key) ORDER BY ALL",
    ),
    Table(
        "fact_recommendation",
        "Recommendations of one model version, as final_recommendations.csv has them.",
        (
            _USER_ID,
            _CONTENT_ID,
            Column("rank", "whole", "place in the user's list, from 1"),
            Column("predicted_rating", "number", "predicted rating in stars, 0.5 to 5"),
            Column("stars", "number", "the same to the nearest half star"),
            Column("model_version", "string", "the version that recommends"),
        ),
        """SELECT user_id, content_id, rank, predicted_rating, round(predicted_rating * 2) / 2, model_version
            FROM recommendations JOIN users USING (user_key) JOIN titles USING (title_key) ORDER BY user_id, rank""",
    ),
    Table(
        "fact_interaction",
        "What users did: a row a user, title, event type and id. An event that was delivered twice is here once.",
        (
            Column("interaction_id", "string", "the event's id, which other users' events may have, too", key=True),
            _USER_ID,
            _CONTENT_ID,
            _DATE,
            Column("happened_at", "time", "when, in UTC"),
            Column("hour", "whole", "the hour of that, 0 to 23"),
            Column("verb", "string", "play, complete, rate, list or skip"),
            Column("percent_watched", "number", "how much was watched, 0 to 100"),
            Column("watched", "whole", "the tens of that, 90 for what is above"),
            Column("device", "string", "device"),
            Column("months_since", "whole", "months since the user subscribed"),
        ),
        """SELECT interaction_id, user_id, content_id, happened_at::DATE, happened_at, hour(happened_at), verb::VARCHAR,
            percent_watched, if(percent_watched >= 90, 90, 10 * floor(percent_watched / 10)::INTEGER), device,
            datediff('month', subscribed, happened_at)
            FROM interactions JOIN users USING (user_key) JOIN titles USING (title_key)
            ORDER BY happened_at, interaction_id""",
    ),
    Table(
        "fact_rating",
        "The newest rating of each user and title.",
        (
            _USER_ID,
            _CONTENT_ID,
            _DATE,
            Column("rated_at", "time", "when it was given, in UTC"),
            Column("rating", "number", "stars, 0.5 to 5"),
        ),
        """SELECT user_id, content_id, rated_at::DATE, rated_at, rating FROM ratings
            JOIN users USING (user_key) JOIN titles USING (title_key) ORDER BY user_id, content_id""",
    ),
    Table(
        "model_metric",
        "How good each model version is on held-out ratings, beside its baselines.",
        (
            Column("model_version", "string", "the version", key=True),
            Column("created_at", "time", "when it was made, in UTC"),
            Column("judged", "string", "who recommends or predicts: nextreel, popularity, bias, mean or random"),
            Column("metric", "string", "rmse, mae, ndcg, recall, precision, map, mrr, coverage, novelty, …"),
            Column("segment", "string", "users judged: all, or by how much they have rated"),
            Column("value", "number", "the metric"),
            Column("low", "number", "lower end of its 95 % bootstrap interval"),
            Column("high", "number", "upper end of it"),
            Column("is_current", "flag", "whether the version is the current one"),
            Column("decision", "string", "what became of the version: promoted, refused or rolled back"),
            Column("why", "string", "why"),
        ),
    ),
    Table(
        "model_calibration",
        "What held-out ratings were where about the same was predicted, by model version.",
        (
            Column("model_version", "string", "the version", key=True),
            Column("is_current", "flag", "whether the version is the current one"),
            Column("predicted", "number", "predicted rating, to the nearest half star"),
            Column("actual", "number", "mean of the ratings that users gave"),
            Column("n_ratings", "whole", "how many those are"),
        ),
    ),
)

BY_NAME: dict[str, Table] = {table.name: table for table in STAR}
