"""The one place that reads configuration: flag > environment > file > default.

Every setting has a dotted name, ``kafka.bootstrap``. In the environment it is ``NEXTREEL_KAFKA_BOOTSTRAP``, in the
file (``nextreel.toml``, or ``--config``) the key ``bootstrap`` of the table ``[kafka]``, and on the command line
``--set kafka.bootstrap=…``. Client settings of librdkafka go through untouched:
``NEXTREEL_KAFKA_CLIENT_SECURITY_PROTOCOL=SASL_SSL`` is its ``security.protocol``.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from nextreel.errors import SettingsError

PREFIX = "NEXTREEL_"
#: Variables that ``./run`` itself reads.
_OUTSIDE = {"NEXTREEL_CONFIG", "NEXTREEL_VENV"}

_DAYS_MAX = 36_500
#: Variables that Kubernetes and Docker links give every container beside a service named nextreel.
_SERVICE_LINK = re.compile(r"NEXTREEL_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")

#: Tables whose keys are other software's own dotted names.
_FREE_TABLES = (("kafka", "client"), ("spark", "conf"))

Positive = Annotated[int, Field(ge=1)]


def _topic(name: str) -> str:
    if name in (".", "..") or not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", name):
        raise ValueError("it must be 1 to 249 characters of A-Z, a-z, 0-9, '.', '_' and '-', and neither '.' nor '..'")
    return name


def _filled(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("it must not be empty; leave it out for the default")
    return value


def _since(value: Any) -> Any:
    """Return a share as a number, a date or time as one with its zone. By itself pydantic takes numbers for times."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value) if value.count("-") > 1 else float(value)
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        moment = isinstance(value, datetime)
        if not moment and not 0 < value < 1:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError("it must be a share between 0 and 1, or a date or time as 2026-01-31T12:00Z") from None
    return value.replace(tzinfo=value.tzinfo or UTC) if moment else float(value)


#: What Kafka takes for a topic's name.
Topic = Annotated[str, AfterValidator(_topic)]
#: What says nothing when it is empty.
_FILLED = BeforeValidator(_filled)
#: A point in time: a quantile of times, or a date or time (UTC where no zone is given).
Since = Annotated[float | datetime, BeforeValidator(_since)]
#: What numpy takes for a seed, and Spark as well.
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Section(BaseModel):
    """A table of settings: immutable, and it refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class KafkaSettings(Section):
    """Where Kafka is and what the topics are called."""

    bootstrap: Annotated[str, _FILLED] = Field("127.0.0.1:9092", description="host:port[,host:port…] of the brokers")
    users: Topic = Field("producer1_topic", description="the users' topic")
    movies: Topic = Field("producer2_topic", description="the movies' topic")
    series: Topic = Field("producer3_topic", description="the series' topic")
    interactions: Topic = Field("producer4_topic", description="the interactions' topic")
    partitions: Positive = Field(2, le=100_000, description="partitions of a topic that nextreel creates")
    replication: Positive = Field(1, le=10_000, description="replicas of a topic that nextreel creates")
    client: dict[str, SecretStr] = Field(default_factory=dict, description="librdkafka settings by their own names")

    @property
    def topics(self) -> tuple[str, str, str, str]:
        """The topics of users, movies, series and interactions."""
        return self.users, self.movies, self.series, self.interactions

    @property
    def client_config(self) -> dict[str, str]:
        """What every librdkafka client starts from, secrets in the clear: never to be logged."""
        return {"bootstrap.servers": self.bootstrap} | {k: v.get_secret_value() for k, v in self.client.items()}

    @model_validator(mode="after")
    def _distinct_topics(self) -> "KafkaSettings":
        if len(set(self.topics)) != len(self.topics):
            raise ValueError(f"the four topics must differ, not {', '.join(self.topics)}")
        return self


class SparkSettings(Section):
    """The Spark session."""

    master: str = Field("local[*,4]", description="Spark master: local[cores,attempts] or spark://host:7077 …")
    driver_memory: str = Field("1g", pattern=r"^\d+[kmgt]$", description="heap of the driver's JVM")
    conf: dict[str, str] = Field(default_factory=dict, description="any Spark settings by their own names")


class IngestSettings(Section):
    """The stream from Kafka to the lake."""

    connector: Literal["python", "jvm"] = Field("python", description="Kafka through Python, or Spark's own connector")
    packages: str = Field(
        "org.apache.spark:spark-sql-kafka-0-10_2.13:4.3.0",
        description="Maven coordinates for connector = jvm",
    )
    starting_offsets: Literal["earliest", "latest"] = Field("earliest", description="where a new checkpoint begins")
    max_offsets_per_trigger: Positive = Field(500_000, description="most messages in one micro-batch")
    max_bytes_per_trigger: Positive = Field(
        256_000_000, description="most bytes of messages in one micro-batch, about: by the mean size of the last ones"
    )
    patience_seconds: float = Field(
        60.0, gt=0.0, description="how long ingest waits for a broker that is restarted or cut off"
    )
    fail_on_data_loss: bool = Field(True, description="stop where Kafka has deleted what the checkpoint wants")
    trigger_seconds: float = Field(0.0, ge=0.0, description="least time between micro-batches")
    metrics_port: int = Field(0, ge=0, le=65535, description="port on 127.0.0.1 for Prometheus' metrics; 0 for none")


class UpkeepSettings(Section):
    """How the lake's files are kept: merged, and removed when their time is over."""

    merge_from_files: Positive = Field(200, description="ingest merges a day's small files when there are so many")
    file_megabytes: Positive = Field(128, description="files are merged until they are about so large")
    interactions_days: int = Field(0, ge=0, le=_DAYS_MAX, description="days to keep interactions; 0 for ever")
    quarantine_days: int = Field(0, ge=0, le=_DAYS_MAX, description="days to keep quarantined messages; 0 for ever")
    batches_days: int = Field(
        365, ge=0, le=_DAYS_MAX, description="days to keep what ingest tells of its micro-batches; 0 for ever"
    )

    @property
    def small_bytes(self) -> int:
        """A file below this size is small."""
        return self.file_megabytes * 500_000


class AffinityWeights(Section):
    """What each trait weighs in the affinity of a user's preferences to a title."""

    genres: float = Field(0.4, ge=0.0, description="weight of shared genres")
    directors: float = Field(0.2, ge=0.0, description="weight of shared directors")
    actors: float = Field(0.2, ge=0.0, description="weight of shared actors")
    decade: float = Field(0.1, ge=0.0, description="weight of a favourite decade")
    age_rating: float = Field(0.1, ge=0.0, description="weight of a suitable age rating")

    @model_validator(mode="after")
    def _some_weight(self) -> "AffinityWeights":
        if sum(self.model_dump().values()) <= 0:
            raise ValueError("at least one weight must be above 0")
        return self


class RatingsSettings(Section):
    """Where ratings come from when they are not observed."""

    weights: AffinityWeights = Field(default_factory=AffinityWeights, description="weights of the affinity")
    simulate: Literal["sparse", "never"] = Field(
        "sparse", description="simulate ratings for users with too few observed ones, or never"
    )
    min_observed: Positive = Field(5, description="a user with this many observed ratings needs no simulated ones")
    per_user: Positive = Field(40, description="simulated ratings a user, at the most")
    noise: float = Field(0.35, ge=0.0, le=2.0, description="standard deviation added to a simulated rating, in stars")
    seed: Seed = Field(7, description="what the simulation is reproducible by")


class TrainSettings(Section):
    """The model."""

    engine: Literal["auto", "local", "mllib"] = Field(
        "auto", description="ALS on this machine or on Spark (MLlib); auto: on this machine up to local_ratings"
    )
    local_ratings: Positive = Field(100_000_000, description="ratings that auto trains on this machine, at the most")
    warm_start: bool = Field(False, description="go on from the current model's factors (local engine only)")
    factors: Positive = Field(16, description="factors of a user and of a title")
    iterations: Positive = Field(10, description="alternating sweeps")
    regularization: float = Field(0.15, gt=0.0, description="of the explicit model, weighted by ratings (ALS-WR)")
    ranking_regularization: float = Field(0.5, gt=0.0, description="of the implicit model that ranks")
    alpha: float = Field(3.0, gt=0.0, description="confidence that a star above neutral adds in the implicit model")
    neutral_rating: float = Field(2.0, ge=0.0, lt=5.0, description="ranking takes ratings above for liking, below not")
    damping: float = Field(5.0, ge=0.0, description="ratings' worth of prior in the bias baseline")
    test_fraction: float = Field(0.2, gt=0.0, lt=1.0, description="share of ratings held out for evaluation")
    relevant_rating: float = Field(4.0, ge=0.5, le=5.0, description="a held-out rating from here on is a hit")
    seed: Seed = Field(7, description="of what evaluation draws by chance, and of the factors' start")


class VersionsSettings(Section):
    """Model versions: which become current, and how many are kept."""

    tolerance: float = Field(
        0.1, ge=0.0, lt=1.0, description="share by which a new model may rank worse than the current one"
    )
    rmse_tolerance: float = Field(
        0.01, ge=0.0, le=1.0, description="share by which a new model's RMSE may be above that of biases"
    )
    min_users: Positive = Field(10, description="users to rank held-out ratings for, below which nDCG says nothing")
    keep: Positive = Field(
        5, description="newest versions that `models prune` leaves, beside the current one and the one before"
    )


class EvaluationSettings(Section):
    """How a model is judged."""

    split: Literal["random", "last", "time"] = Field(
        "random",
        description="ratings held out: train.test_fraction of them by chance; each user's last_k; all from since on",
    )
    last_k: Positive = Field(5, description="split = last: of each user who has more, the newest ratings held out")
    since: Since = Field(0.8, description="split = time: a date, or the share of the ratings that lies before it")
    max_users: Positive = Field(20_000, description="users whose lists are judged; of more, so many by chance")
    resamples: int = Field(1000, ge=100, le=100_000, description="bootstrap resamples behind a confidence interval")


class ExportSettings(Section):
    """What is written for people."""

    top_k: Positive = Field(10, le=1000, description="recommendations a user")


class Settings(Section):
    """All settings, by section."""

    home: Annotated[Path, _FILLED] = Field(Path("nextreel-data"), description="where lake, models and exports lie")
    kafka: KafkaSettings = KafkaSettings()
    spark: SparkSettings = SparkSettings()
    ingest: IngestSettings = IngestSettings()
    upkeep: UpkeepSettings = UpkeepSettings()
    ratings: RatingsSettings = RatingsSettings()
    train: TrainSettings = TrainSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    versions: VersionsSettings = VersionsSettings()
    export: ExportSettings = ExportSettings()

    @property
    def lake(self) -> Path:
        """The lake's directory."""
        return self.home / "lake"

    @property
    def models(self) -> Path:
        """The model store's directory."""
        return self.home / "models"

    @property
    def exports(self) -> Path:
        """The exports' directory."""
        return self.home / "exports"


def load(
    flags: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Settings:
    """Read the settings: ``flags`` (by dotted name) over ``environ`` over ``file`` over the defaults.

    ``file`` defaults to ``$NEXTREEL_CONFIG``, then to ``nextreel.toml`` where there is one. Raises `SettingsError`
    with the key, the value and what would be right.
    """
    environ = os.environ if environ is None else environ
    origins: dict[str, str] = {}
    values = _from_file(file or _default_file(environ), origins)
    for name, value in sorted(environ.items()):
        if name.startswith(PREFIX) and name not in _OUTSIDE and not _SERVICE_LINK.fullmatch(name):
            key = _key_of_variable(name)
            _put(values, key, value, name)
            origins[".".join(key)] = name
    for dotted, value in (flags or {}).items():
        _put(values, _key_of_flag(dotted), value, f"--set {dotted}")
        origins[dotted] = f"--set {dotted}"
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_explain(error, origins)) from None


def variable_of(key: str) -> str:
    """Return the environment variable that sets a key; of a free table, the one that sets an entry of it."""
    entry = "_<NAME>" if tuple(key.split(".")) in _FREE_TABLES else ""
    return PREFIX + key.replace(".", "_").upper() + entry


def _default_file(environ: Mapping[str, str]) -> Path | None:
    if named := environ.get("NEXTREEL_CONFIG"):
        return Path(named)
    return Path("nextreel.toml") if Path("nextreel.toml").exists() else None


def _from_file(file: Path | None, origins: dict[str, str]) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"the settings file {file} cannot be read: {error}") from None
    for section, table in _FREE_TABLES:
        within = values.get(section)
        if isinstance(within, dict) and isinstance(within.get(table), dict):
            within[table] = dict(_flat(within[table]))
    origins[""] = str(file)
    return values


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield a free table's entries as text: to TOML an unquoted ``security.protocol`` is a table within a table."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, str(value).lower() if isinstance(value, bool) else str(value)


def _key_of_variable(name: str) -> tuple[str, ...]:
    """Return the dotted path that an environment variable sets, taking the longest section name that fits."""
    rest = name.removeprefix(PREFIX).lower()
    model: type[BaseModel] = Settings
    path: tuple[str, ...] = ()
    while True:
        if rest in model.model_fields:
            return (*path, rest)
        step = max((f for f in model.model_fields if rest.startswith(f + "_")), key=len, default=None)
        annotation = model.model_fields[step].annotation if step else None
        if step is None:
            raise SettingsError(f"{name} sets nothing: no setting has that name. `nextreel settings` lists them.")
        path, rest = (*path, step), rest.removeprefix(step + "_")
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
        else:  # a free table: its keys have dots where the variable has underscores
            return (*path, rest.replace("_", "."))


def _key_of_flag(dotted: str) -> tuple[str, ...]:
    for section, table in _FREE_TABLES:
        prefix = f"{section}.{table}."
        if dotted.startswith(prefix):
            return section, table, dotted.removeprefix(prefix)
    return tuple(dotted.split("."))


def _put(values: dict[str, Any], key: tuple[str, ...], value: str, origin: str) -> None:
    for depth, step in enumerate(key[:-1], 1):
        values = values.setdefault(step, {})
        if not isinstance(values, dict):
            section = ".".join(key[:depth])
            hidden = isinstance(values, list) or _may_hold_secrets(section)
            given = _kind(section, values) if hidden else repr(values)
            raise SettingsError(
                f"{origin} sets {'.'.join(key)}, but {section} was given as {given}: it is no table{_advice(section)}"
            )
    values[key[-1]] = value


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(step) for step in problem["loc"])
        origin = _origin(key, origins)
        if problem["type"] == "extra_forbidden":
            lines.append(f"{key} (from {origin}) is no setting; `nextreel settings` lists them all")
        elif problem["type"] in ("model_type", "dict_type"):
            lines.append(
                f"{key} (from {origin}) must be a table, [{key}], not {_kind(key, problem['input'])}{_advice(key)}"
            )
        else:
            hidden = isinstance(problem["input"], dict | BaseModel) or _may_hold_secrets(key)
            given = "" if hidden else f" = {problem['input']!r}"
            lines.append(f"{key}{given} (from {origin}): {problem['msg'].removeprefix('Value error, ')}{_advice(key)}")
    return "wrong settings:\n  " + "\n  ".join(lines)


def _kind(section: str, given: Any) -> str:
    """Return what a section was given as in place of a table."""
    if not isinstance(given, list):
        return "a single value"
    return f"an array of tables, [[{section}]]" if given and all(isinstance(g, dict) for g in given) else "an array"


def _may_hold_secrets(key: str) -> bool:
    """Tell whether a key is a free table, lies in one or holds one: what it was given is not for showing."""
    tables = [".".join(table) + "." for table in _FREE_TABLES]
    return any(table.startswith(f"{key}.") or key.startswith(table) for table in tables)


def _advice(key: str) -> str:
    if tuple(key.split(".")) not in _FREE_TABLES:
        return ""
    return f"; set its entries one by one, as {variable_of(key)}=… or --set {key}.<name>=…"


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """Return what set a key: the key itself, something in it (where it is a table), or the file."""
    inside = [origin for name, origin in origins.items() if name == key or name.startswith(key + ".")]
    return ", ".join(inside) or origins.get("", "default")
