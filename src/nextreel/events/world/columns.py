"""Arrow columns of the synthetic world, made from numpy arrays of positions."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nextreel.events.contract import EventType, event_schema


def ids(prefix: str, digits: int, numbers: NDArray[np.int64]) -> pa.StringArray:
    """Return a letter and a number, padded with zeros to at least so many digits."""
    padded = pc.ascii_lpad(pa.array(numbers).cast(pa.string()), digits, padding="0")
    return pc.binary_join_element_wise(prefix, padded, "")


def taken(
    choices: pa.StringArray | list[str], positions: NDArray[np.int64], known: NDArray[np.bool_] | None = None
) -> pa.StringArray:
    """Return the strings at positions, null where not known."""
    values = pa.array(choices, pa.string()) if isinstance(choices, list) else choices
    return values.take(pa.array(positions, mask=None if known is None else ~known))


def lists(choices: pa.StringArray, positions: NDArray[np.int64], lengths: NDArray[np.int64]) -> pa.ListArray:
    """Return the strings at the first so many positions of every row; null where that is none.

    Parameters
    ----------
    choices
        What there is.
    positions
        Positions in ``choices``, of shape (n, longest).
    lengths
        How many count, of shape (n,).
    """
    counted = np.arange(positions.shape[1]) < lengths[:, np.newaxis]
    offsets = np.concatenate([[0], np.cumsum(counted.sum(axis=1))]).astype(np.int32)
    values = choices.take(pa.array(positions[counted]))
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(lengths <= 0))


def instants(micros: NDArray[np.int64]) -> pa.TimestampArray:
    """Return microseconds since 1970 as timestamps in UTC."""
    return pa.array(micros).cast(pa.timestamp("us", tz="UTC"))


def record_batch(event_type: EventType, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """Return events of a type; ``columns`` has all of its fields but ``type``, each of n values."""
    schema = event_schema(event_type)
    n = len(columns["id"])
    arrays = [pa.repeat(event_type, n) if name == "type" else columns[name] for name in schema.names]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
