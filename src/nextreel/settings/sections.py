"""Every setting: its section, its default, what it may be, what it is for."""

import ipaddress
import re
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
    model_validator,
)

_DAYS_MAX = 36_500


Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0.0, le=3_600.0)]


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


def _root_path(path: str) -> str:
    """Return a path prefix without a slash at its end. The API's own paths are refused: both would mean one path."""
    path = path.rstrip("/")
    own = ("v1", "static", "healthz", "readyz", "metrics", "openapi.json")
    if path and (not re.fullmatch(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+", path) or path.split("/")[1] in own):
        raise ValueError(f"it must be a path as /rec, and not begin with one of /{', /'.join(own)}")
    return path


def _network(address: str) -> str:
    try:
        return str(ipaddress.ip_network(address, strict=False))
    except ValueError:
        raise ValueError("it must be an address as 10.0.0.7 or a network as 10.0.0.0/8") from None


def _origin(origin: str) -> str:
    if not re.fullmatch(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", origin):
        raise ValueError("it must be a scheme and a name as https://app.example.com, without a path; * is not allowed")
    return origin.lower()


#: What Kafka takes for a topic's name.
Topic = Annotated[str, AfterValidator(_topic)]
#: What says nothing when it is empty.
_FILLED = BeforeValidator(_filled)
#: A point in time: a quantile of times, or a date or time (UTC where no zone is given).
Since = Annotated[float | datetime, BeforeValidator(_since)]
#: What numpy takes for a seed, and Spark as well.
Seed = Annotated[int, Field(ge=0, lt=2**31)]


#: Tables whose keys are other software's own dotted names, and whose values can be secrets.
FREE_TABLES = (("kafka", "client"), ("spark", "conf"), ("ingest", "java_client"))


def url_of(host: str, port: int) -> str:
    """Return the URL of a server at a host, which may be an address of IPv6, and a port."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


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
    distribution: Annotated[Path | None, _FILLED] = Field(
        None, description="folder of an Apache Kafka distribution for `broker --apache`; by default Maven fetches one"
    )
    min_insync_replicas: Positive | None = Field(
        None,
        description="replicas that must have a message before it is acknowledged, in a topic that nextreel creates; "
        "by default one less than replication, and at least 1",
    )
    client: dict[str, SecretStr] = Field(default_factory=dict, description="librdkafka settings by their own names")

    @property
    def topics(self) -> tuple[str, str, str, str]:
        """The topics of users, movies, series and interactions."""
        return self.users, self.movies, self.series, self.interactions

    @property
    def client_config(self) -> dict[str, str]:
        """What every librdkafka client starts from, secrets in the clear: never to be logged."""
        return {"bootstrap.servers": self.bootstrap} | {k: v.get_secret_value() for k, v in self.client.items()}

    @property
    def insync_replicas(self) -> int:
        """``min.insync.replicas`` of a topic that nextreel creates: one replica may be gone, and writes go on."""
        return self.min_insync_replicas or max(1, self.replication - 1)

    @model_validator(mode="after")
    def _enough_replicas(self) -> "KafkaSettings":
        if self.insync_replicas > self.replication:
            raise ValueError(
                f"kafka.min_insync_replicas is {self.min_insync_replicas}; it must be between 1 and "
                f"kafka.replication, which is {self.replication}"
            )
        return self

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


class ContractSettings(Section):
    """What the contract leaves open."""

    max_clock_skew_seconds: int = Field(
        900,
        ge=0,
        le=366 * 86_400,
        description="how far an event time may be ahead of the message's arrival; quarantined beyond that",
    )


class IngestSettings(Section):
    """The stream from Kafka to the lake."""

    connector: Literal["python", "jvm"] = Field("python", description="Kafka through Python, or Spark's own connector")
    packages: str = Field(
        "org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0",
        description="Maven coordinates for connector = jvm; not asked for where spark.conf.spark.jars names JARs",
    )
    java_client: dict[str, SecretStr] = Field(
        default_factory=dict, description="settings of Kafka's Java client for connector = jvm, over kafka.client"
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
    metrics_host: Annotated[str, _FILLED] = Field(
        "127.0.0.1", description="address to serve metrics at; they name topics, tables and reasons, and need no key"
    )
    metrics_port: int = Field(0, ge=0, le=65535, description="port for Prometheus' metrics; 0 for none")


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


class ImplicitRatings(Section):
    """The rating that an event stands for where there is no rating, in stars; 0 for none."""

    complete: float = Field(3.5, ge=0.0, le=5.0, description="watched to the end")
    list: float = Field(3.5, ge=0.0, le=5.0, description="put on a list to watch")
    play: float = Field(3.0, ge=0.0, le=5.0, description="watched in part")
    skip: float = Field(2.0, ge=0.0, le=5.0, description="left at once")


class RatingsSettings(Section):
    """Where ratings come from when they are not observed."""

    weights: AffinityWeights = Field(default_factory=AffinityWeights, description="weights of the affinity")
    implicit: ImplicitRatings = Field(
        default_factory=ImplicitRatings, description="what other events count as; for the order of titles alone"
    )
    simulate: Literal["auto", "sparse", "never"] = Field(
        "auto",
        description="simulate ratings for users with too few observed ones; auto: while fewer than enough_users have",
    )
    min_observed: Positive = Field(5, description="a user with this many observed ratings needs no simulated ones")
    enough_users: Positive = Field(
        100, description="simulate = auto: so many users with min_observed ratings teach more"
    )
    per_user: Positive = Field(40, description="simulated ratings a user, at the most")
    noise: float = Field(
        0.35, ge=0.0, le=2.0, description="standard deviation of the noise in how well a simulated title fits, in stars"
    )
    simulated_mean: float = Field(
        3.6, ge=0.5, le=5.0, description="mean of simulated ratings, in stars, before they are cut off at 0.5 and 5"
    )
    simulated_spread: float = Field(1.1, ge=0.0, le=3.0, description="standard deviation of the same, in stars")
    seed: Seed = Field(7, description="what the simulation is reproducible by")

    def simulates(self, n_users: int) -> bool:
        """Tell whether to simulate ratings where ``n_users`` users have as many observed ones as `min_observed`."""
        return self.simulate == "sparse" or (self.simulate == "auto" and n_users < self.enough_users)


class TrainSettings(Section):
    """The model."""

    engine: Literal["auto", "local", "mllib"] = Field(
        "auto", description="ALS on this machine or on Spark (MLlib); auto: on this machine up to local_ratings"
    )
    local_ratings: Positive = Field(100_000_000, description="ratings that auto trains on this machine, at the most")
    warm_start: bool = Field(False, description="go on from the current model's factors (local engine only)")
    factors: int = Field(64, ge=1, le=4096, description="factors of a user and of a title")
    iterations: Positive = Field(10, description="alternating sweeps")
    regularization: float = Field(0.15, gt=0.0, description="of the explicit model, weighted by ratings (ALS-WR)")
    ranking_regularization: float = Field(0.8, gt=0.0, description="of the implicit model that ranks")
    ranking_scaling: Literal["positive", "none", "all"] = Field(
        "positive",
        description="what that is multiplied with: a row's liked cells (as MLlib has it), nothing, or all of its "
        "confidence (Rendle et al. 2022: take a hundredth then); all but the first on this machine alone",
    )
    alpha: float = Field(3.0, gt=0.0, description="confidence that a star above neutral adds in the implicit model")
    neutral_rating: float = Field(2.5, ge=0.0, lt=5.0, description="ranking takes ratings above for liking, below not")
    damping: float = Field(5.0, ge=0.0, description="ratings' worth of prior in the bias baseline")
    new_title_boost: float = Field(
        0.5, ge=0.0, le=1.0, description="how far titles without ratings are lifted towards typical ones, to be shown"
    )
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


class TuningSettings(Section):
    """The search for better settings of the section train."""

    trials: int | None = Field(
        None, ge=2, description="trials in all, those of earlier runs counted; by default 40 where minutes is not set"
    )
    minutes: float | None = Field(None, gt=0.0, description="time for the trials of one run; by default any")
    max_factors: Positive = Field(128, description="most factors to try; memory and time of a model grow with them")


class ExportSettings(Section):
    """What is written for people."""

    engine: Literal["auto", "local", "spark"] = Field(
        "auto", description="lists made on this machine or on Spark; auto: on this machine up to local_megabytes"
    )
    local_megabytes: Positive = Field(
        2000,
        description="memory that auto takes on this machine, at the most, as estimated from users and interactions",
    )
    top_k: Positive = Field(10, le=1000, description="recommendations a user")
    diversity: float = Field(
        0.0, ge=0.0, le=1.0, description="how much titles of a list are to differ: 0 for the best ones, however alike"
    )


class ServeSettings(Section):
    """The REST API."""

    host: Annotated[str, _FILLED] = Field(
        "127.0.0.1", description="address to listen at; others than this machine's need keys"
    )
    port: int = Field(8000, ge=0, le=65535, description="port to listen at; 0 for any that is free")
    names: list[str] = Field(
        default_factory=list, description="names by which others reach it, beside host and localhost"
    )
    without_keys: bool = Field(False, description="let anybody who reaches it do anything, at any address")
    root_path: Annotated[str, AfterValidator(_root_path)] = Field(
        "", description="path prefix under which a reverse proxy serves it, as /rec"
    )
    trusted_proxies: list[Annotated[str, AfterValidator(_network)]] = Field(
        default_factory=list,
        description="addresses or networks of reverse proxies whose X-Forwarded-For and X-Forwarded-Prefix count",
    )
    cors_origins: list[Annotated[str, AfterValidator(_origin)]] = Field(
        default_factory=list, description="origins whose pages may call the API, as https://app.example.com"
    )
    requests_per_second: float = Field(
        0.0, ge=0.0, description="requests of one key, or of one address without keys; 0 for any number"
    )
    address_requests_per_second: float = Field(
        0.0, ge=0.0, description="requests of one address, counted before any key is looked up; 0 for any number"
    )
    failed_keys_per_second: float = Field(
        20.0, ge=0.0, description="401 answers to one address; further requests without a known key get 429; 0: any"
    )
    max_body_bytes: Positive = Field(65_536, description="longest body of a request")
    max_outstanding_writes: Positive = Field(
        100, le=10_000, description="writes that wait for Kafka at a time; one more is answered 503 at once"
    )
    write_timeout_seconds: float = Field(
        10.0, gt=0.0, le=60.0, description="longest wait for Kafka's acknowledgement of a write; 503 after it"
    )
    max_header_bytes: int = Field(65_536, ge=1_024, description="longest request line and headers of a request")
    max_header_fields: int = Field(100, ge=10, description="headers of a request, at the most")
    max_connections: Positive = Field(2_000, description="open connections; beyond, the longest idle one is closed")
    max_concurrent_requests: Positive = Field(500, description="requests answered at a time; further ones get 503")
    header_timeout_seconds: Seconds = Field(10.0, description="time for a request's headers to arrive")
    body_timeout_seconds: Seconds = Field(30.0, description="time for a request's body to arrive")
    idle_timeout_seconds: Seconds = Field(75.0, description="time that a connection without a request stays open")
    send_timeout_seconds: Seconds = Field(30.0, description="time for a client to read what it was sent")
    dashboard: bool = Field(True, description="show the dashboard at /, which keeps the figures of the lake in memory")
    access_log: bool = Field(False, description="log every request: who, what, how long; no query, no key")
    max_lag_seconds: float = Field(
        300.0,
        ge=0.0,
        description="/readyz fails while an event older than this is not in the answers; 0 for never",
    )
    interactions_per_user: Positive = Field(
        2_000, description="interactions since the last training that count for one user, the newest"
    )
    trending_half_life_hours: float = Field(
        72.0, gt=0.0, le=24 * 365, description="trending: after so long what users did counts half"
    )


class InsightSettings(Section):
    """The figures behind the dashboard and the exports."""

    memory_megabytes: int = Field(
        256,
        ge=64,
        description="what the figures may take of memory; what is beyond lies in the system's temporary files",
    )
    concurrent_questions: Positive = Field(2, description="questions to the figures that are answered at a time")
    waiting_questions: int = Field(50, ge=0, description="questions that wait for their turn; further ones get 503")


class UpSettings(Section):
    """The whole system in one command."""

    train_every_seconds: float = Field(900.0, gt=0.0, description="train again after so long, where any event came")
    train_after_events: int = Field(100_000, ge=0, description="train again after so many events; 0 for time alone")


def _no_address(value: object) -> object:
    """Refuse an object store's address, which would silently be a folder of that name."""
    if "://" in str(value):
        raise ValueError(
            "must be a folder: object stores have no renames; they get a mirror of the lake (docs/cluster.md)"
        )
    return value


class Settings(Section):
    """All settings, by section."""

    home: Annotated[Path, _FILLED, BeforeValidator(_no_address)] = Field(
        Path("nextreel-data"), description="where lake, models and exports lie"
    )
    kafka: KafkaSettings = KafkaSettings()
    spark: SparkSettings = SparkSettings()
    contract: ContractSettings = ContractSettings()
    ingest: IngestSettings = IngestSettings()
    upkeep: UpkeepSettings = UpkeepSettings()
    ratings: RatingsSettings = RatingsSettings()
    train: TrainSettings = TrainSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    tuning: TuningSettings = TuningSettings()
    versions: VersionsSettings = VersionsSettings()
    export: ExportSettings = ExportSettings()
    serve: ServeSettings = ServeSettings()
    insight: InsightSettings = InsightSettings()
    up: UpSettings = UpSettings()

    @property
    def lake(self) -> Path:
        """The lake's directory."""
        return self.home / "lake"

    @property
    def models(self) -> Path:
        """The model store's directory."""
        return self.home / "models"

    @property
    def keys(self) -> Path:
        """The file of the API's keys."""
        return self.home / "api-keys.json"

    @property
    def exports(self) -> Path:
        """The exports' directory."""
        return self.home / "exports"

    @property
    def trials(self) -> Path:
        """The directory of what tuning has tried and found."""
        return self.home / "tuning"
