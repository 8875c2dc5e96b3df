"""The lake: where files lie, how they are committed, how they are read."""
