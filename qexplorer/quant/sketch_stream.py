"""A sketch of values that come in blocks, such as activations: its memory does not grow with them."""

import numpy as np

from qexplorer.quant.arrays import Floats
from qexplorer.quant.error_sums import ends_of
from qexplorer.quant.sketch import PIECE, Sketch, Tally, ends_of_nothing, sketch_of_table, widen


class SketchStream:
    """Counts float32 values by their upper 17 bits, as `sketch` does, block after block, in 3 MB at most."""

    def __init__(self) -> None:
        self._earlier: Tally | None = None
        self._table = Tally.table()
        self._pending = self.n = 0
        self._ends = ends_of_nothing()

    def add(self, block: Floats) -> None:
        """Count a block of any shape."""
        flat = np.ascontiguousarray(block, np.float32).reshape(-1)
        for start in range(0, flat.size, PIECE):
            piece = flat[start : start + PIECE]
            if self._pending + piece.size > Tally.together * PIECE:
                self._fold()
            Tally.count(piece, self._table)
            self._pending += piece.size
            widen(self._ends, np.array(ends_of(piece[None]))[:, 0])
        self.n += flat.size

    def sketch(self) -> Sketch:
        """What was counted so far."""
        if self._earlier is None:
            return sketch_of_table(self._table, self._ends, self.n)
        self._fold()
        return self._earlier.sketch(self._ends, self.n)

    def _fold(self) -> None:
        self._earlier = self._earlier or Tally()
        self._earlier.add(self._table, self._ends)
        self._table[:] = 0
        self._pending = 0
