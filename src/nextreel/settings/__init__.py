"""The one place that reads configuration: `sections` declare it, `sources` say where it comes from."""

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
    UpkeepSettings,
    VersionsSettings,
)
from nextreel.settings.sources import PREFIX, load, variable_of

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
    "UpkeepSettings",
    "VersionsSettings",
    "load",
    "variable_of",
]
