"""Ingest: Kafka as a stream, messages parsed, the lake written."""
