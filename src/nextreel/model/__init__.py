"""The model: factors and ids, ranking, the versioned store. No Spark, no web."""
