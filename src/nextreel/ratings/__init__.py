"""Ratings: affinity, simulated ratings, observed ratings, the one ratings table."""
