"""Kafka: the embedded broker, the topics, the producer."""
