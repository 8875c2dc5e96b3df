"""Figures of docs/scale.md, computed from what was measured: ``python docs/scale.py`` prints the tables.

Every constant under "measured" is in docs/performance.md, or in docs/scale.md with where it was measured. Nothing else
is: what follows from them for other sizes is extrapolated.
"""

from dataclasses import dataclass

# Measured.
USER_BYTES, TITLE_BYTES = 1_754, 952  #: of a server's memory; 64 factors, 100 ratings a user, 1,000,000 of each
SWEEP_SECONDS = 3.48 + 5.36  #: of the explicit and the implicit model, 98 million ratings, 64 factors, two cores
ALS_BYTES = 6.3e9 / 98e6  #: of a rating, ALS on this machine
ALS_RATINGS = 98e6
MESSAGE_BYTES = 288  #: of JSON, of the synthetic world: as many bytes of each type
WORLD_SHARE, MOVIELENS_SHARE, LIVE_SHARE = 1 - 0.978, 1 - 0.94, 1 - 0.919  #: of the JSON's bytes that Parquet has
INGEST_BYTES = 52.9e6  #: of JSON a second that ingest drains on two cores, warm
COLLECTED_BYTES = 51  #: of a rating on its way from Spark to the driver's Python
LISTS_SECONDS = 0.052 / (30_000 * 8_000)  #: for a user and a title, top 10, two threads

# Assumed.
RATINGS_A_USER = 100  #: the newest of each user and title: what was rated, watched or listed
EVENTS_A_USER_AND_DAY = 5
TITLES = {1_000_000: 50_000, 10_000_000: 100_000, 100_000_000: 200_000}
PEAK = 4  #: times the mean rate
PARTITION_BYTES = 1e6  #: of JSON a second that a partition of the interactions' topic is planned for
KEPT_DAYS = 7  #: Kafka's retention
REPLICAS = 3
SWEEPS = 10  #: train.iterations
TRAININGS = 2  #: one to judge, one to keep
LOCAL_RATINGS = 100_000_000  #: train.local_ratings
LOCAL_MEGABYTES = 2_000  #: export.local_megabytes

DAY, YEAR = 86_400, 365 * 86_400


@dataclass(frozen=True)
class Size:
    """What so many users come to."""

    users: int

    @property
    def titles(self) -> int:
        """Titles of the catalogue."""
        return TITLES[self.users]

    @property
    def ratings(self) -> int:
        """Ratings to learn from."""
        return self.users * RATINGS_A_USER

    @property
    def bytes_a_second(self) -> float:
        """JSON a second, on average."""
        return self.users * EVENTS_A_USER_AND_DAY * MESSAGE_BYTES / DAY

    @property
    def partitions(self) -> int:
        """Partitions of the interactions' topic."""
        return max(2, -int(-PEAK * self.bytes_a_second // PARTITION_BYTES))

    @property
    def served_bytes(self) -> float:
        """Memory of one server."""
        return self.users * USER_BYTES + self.titles * TITLE_BYTES

    @property
    def lists_megabytes(self) -> float:
        """Memory that `nextreel.insight.engine` estimates for everyone's lists: two models of 64 factors."""
        events = self.users * EVENTS_A_USER_AND_DAY * 365
        return (self.users * (1_000 + 128 * 16) + events * 120) / 1e6


SIZES = [Size(users) for users in TITLES]


def _number(value: float) -> str:
    for unit, name in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:,.3g}{name}" if value / unit < 1000 else f"{value / unit:,.0f}{name}"
    return f"{value:,.3g}"


def _bytes(value: float) -> str:
    text = _number(value)
    return f"{text}B" if " " in text else f"{text} B"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.2g} s" if seconds < 10 else f"{seconds:,.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:,.0f} min"
    return f"{seconds / 3600:,.0f} h" if seconds < 48 * 3600 else f"{seconds / DAY:,.0f} days"


def growth() -> str:
    """Return how a lake grows at 500 KB/s."""
    year = 500e3 * YEAR
    rows = [
        ("JSON through Kafka", 1.0, "500,000 bytes in each of 31,536,000 s"),
        ("Parquet, as the demonstration's small files", LIVE_SHARE, "91.9 % smaller (monitoring.md)"),
        ("Parquet, as ml-latest-small", MOVIELENS_SHARE, "94 % smaller"),
        (
            "Parquet, as the synthetic world in large micro-batches",
            WORLD_SHARE,
            "97.8 % smaller; it repeats itself more than real events do",
        ),
    ]
    lines = ["| | a day | a year | from |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {_bytes(share * year / 365)} | {share * year / 1e12:.2f} TB | {why} |" for name, share, why in rows
    ]
    return "\n".join(lines)


def sizes() -> str:
    """Return what 1, 10 and 100 million users come to."""
    rows = [
        ("titles (assumed)", lambda s: f"{s.titles:,}"),
        ("ratings to learn from", lambda s: _number(s.ratings)),
        ("JSON a second, mean", lambda s: _bytes(s.bytes_a_second)),
        ("JSON a second, peak", lambda s: _bytes(PEAK * s.bytes_a_second)),
        ("of what ingest drains on two cores, at the peak", lambda s: f"{PEAK * s.bytes_a_second / INGEST_BYTES:.1%}"),
        ("partitions of the interactions' topic", lambda s: f"{s.partitions}"),
        ("Kafka's disks, all replicas", lambda s: _bytes(s.bytes_a_second * KEPT_DAYS * DAY * REPLICAS)),
        ("lake, a year: JSON", lambda s: _bytes(s.bytes_a_second * YEAR)),
        ("lake, a year: Parquet at 6 %", lambda s: _bytes(s.bytes_a_second * YEAR * MOVIELENS_SHARE)),
        ("collected by training", lambda s: _bytes(s.ratings * COLLECTED_BYTES)),
        ("ALS engine by `auto`", lambda s: "local" if s.ratings <= LOCAL_RATINGS else "MLlib"),
        ("ALS, local: memory", lambda s: _bytes(s.ratings * ALS_BYTES)),
        (
            "ALS, local: both models, judged and kept",
            lambda s: _time(s.ratings / ALS_RATINGS * SWEEP_SECONDS * SWEEPS * TRAININGS),
        ),
        ("a server's memory", lambda s: _bytes(s.served_bytes)),
        ("lists: memory by estimate", lambda s: _bytes(s.lists_megabytes * 1e6)),
        ("lists: engine by `auto`", lambda s: "local" if s.lists_megabytes <= LOCAL_MEGABYTES else "Spark"),
        ("lists: time on two cores", lambda s: _time(s.users * s.titles * LISTS_SECONDS)),
    ]
    lines = ["| | " + " | ".join(f"{size.users:,} users" for size in SIZES) + " |", "|---|" + "---|" * len(SIZES)]
    lines += [f"| {name} | " + " | ".join(of(size) for size in SIZES) + " |" for name, of in rows]
    return "\n".join(lines)


TABLES = {"growth": growth, "sizes": sizes}

if __name__ == "__main__":
    for table in TABLES.values():
        print(table(), end="\n\n")  # noqa: T201 (it is a script)
