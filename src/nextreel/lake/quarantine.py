"""What is in quarantine."""

import pyarrow.dataset as ds

from nextreel.lake.layout import QUARANTINE, Lake


def reasons(lake: Lake) -> dict[str, int]:
    """Return how many messages are in quarantine for each reason, most first."""
    files = [str(f) for f in lake.files(QUARANTINE)]
    if not files:
        return {}
    counted = ds.dataset(files, format="parquet").to_table(["reason"])["reason"].value_counts().to_pylist()
    return {c["values"]: c["counts"] for c in sorted(counted, key=lambda c: (-c["counts"], c["values"]))}
