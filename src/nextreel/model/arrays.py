"""What the arrays of this room hold."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
#: Rows of users or titles, or counts of them.
Ints = NDArray[np.int64]
Indices = NDArray[np.integer]
Mask = NDArray[np.bool_]
