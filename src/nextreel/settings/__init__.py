"""The one place that reads configuration: `sections` declare it, `sources` say where it comes from, `toml` writes."""

from nextreel.settings.sections import (
    AffinityWeights,
    EvaluationSettings,
    ExportSettings,
    ImplicitRatings,
    IngestSettings,
    KafkaSettings,
    RatingsSettings,
    Section,
    ServeSettings,
    Settings,
    SparkSettings,
    TrainSettings,
    TuningSettings,
    UpkeepSettings,
    UpSettings,
    VersionsSettings,
    url_of,
)
from nextreel.settings.sources import PREFIX, load, variable_of
from nextreel.settings.toml import as_toml, read_toml

__all__ = [
    "PREFIX",
    "AffinityWeights",
    "EvaluationSettings",
    "ExportSettings",
    "ImplicitRatings",
    "IngestSettings",
    "KafkaSettings",
    "RatingsSettings",
    "Section",
    "ServeSettings",
    "Settings",
    "SparkSettings",
    "TrainSettings",
    "TuningSettings",
    "UpSettings",
    "UpkeepSettings",
    "VersionsSettings",
    "as_toml",
    "load",
    "read_toml",
    "url_of",
    "variable_of",
]
