"""The one place that reads configuration: `sections` declare it, `sources` say where it comes from, `toml` writes."""

from nextreel.settings.sections import (
    AffinityWeights,
    ContractSettings,
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
from nextreel.settings.toml import as_toml

__all__ = [
    "PREFIX",
    "AffinityWeights",
    "ContractSettings",
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
    "url_of",
    "variable_of",
]
