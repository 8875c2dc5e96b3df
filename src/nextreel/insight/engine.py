"""Where everyone is recommended to: on this machine or on Spark."""

from typing import Literal

from nextreel.events.contract import TABLES
from nextreel.lake.layout import Lake
from nextreel.lake.stats import stats
from nextreel.model.model import Model
from nextreel.settings import ExportSettings

Engine = Literal["local", "spark"]

#: What a user, each factor of theirs and an interaction take on this machine at the peak, beside Spark's JVM: measured
#: with 20,000 to 200,000 users, 16 and 64 factors, 400,000 to 3,000,000 interactions, and rounded up.
_USER_BYTES, _FACTOR_BYTES, _EVENT_BYTES = 1000, 16, 120


def choose_engine(settings: ExportSettings, lake: Lake, model: Model) -> tuple[Engine, str]:
    """Return the engine for a lake, this machine unless that would take too much memory, or as set; and why, in words.

    Users and interactions are counted by the lake's records: who is in it twice counts twice.
    """
    rows = {table.table: table.rows for table in stats(lake, 0)}
    n_users, n_events = (rows.get(TABLES[event_type], 0) for event_type in ("user", "interaction"))
    n_users = max(n_users, len(model.user_ids))
    n_factors = model.ranking_factors.titles.shape[1] + model.rating_factors.titles.shape[1]
    megabytes = (n_users * (_USER_BYTES + n_factors * _FACTOR_BYTES) + n_events * _EVENT_BYTES) / 1e6
    local = settings.engine == "local" or (settings.engine == "auto" and megabytes <= settings.local_megabytes)
    where = "on this machine" if local else "on Spark"
    return (
        "local" if local else "spark",
        f"{where}: {n_users:,} users, {n_events:,} interactions, {megabytes:,.0f} MB by estimate",
    )
