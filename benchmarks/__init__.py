"""Benchmarks: ``./run bench NAME``. Each prints a table, or one JSON object with --json."""
