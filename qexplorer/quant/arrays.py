"""The array types of this room, named once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
"""float32 values; groups come as rows: `[G, N]`."""
Doubles = NDArray[np.float64]
Codes = NDArray[np.int32]
Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]
AnyArray = NDArray[Any]
