"""A sketch of values that come in blocks, such as activations: its memory does not grow with them."""

import numpy as np

from qexplorer.quant.arrays import Floats
from qexplorer.quant.measure import ends_of
from qexplorer.quant.sketch import PIECE, Sketch, Tally


class SketchStream:
    """Counts float32 values by their upper 17 bits, as `sketch` does, block after block, in 4 MB."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._table = self._tally.table()
        self._pending = self.n = 0
        self._lo, self._hi = np.float32(np.inf), np.float32(-np.inf)

    def add(self, block: Floats) -> None:
        """Count a block of any shape."""
        flat = np.ascontiguousarray(block, np.float32).reshape(-1)
        for start in range(0, flat.size, PIECE):
            piece = flat[start : start + PIECE]
            if self._pending + piece.size > Tally.together * PIECE:
                self._fold()
            self._tally.count(piece, self._table)
            self._pending += piece.size
            lo, hi = np.array(ends_of(piece[None]))[:, 0]
            self._lo, self._hi = min(self._lo, lo), max(self._hi, hi)
        self.n += flat.size

    def sketch(self) -> Sketch:
        """What was counted so far."""
        self._fold()
        return self._tally.sketch(self._lo, self._hi, self.n)

    def _fold(self) -> None:
        self._tally.add(self._table)
        self._table[:] = 0
        self._pending = 0
