"""Insight: what people look at."""
