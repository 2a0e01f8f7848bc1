"""What is known of one piece of a tensor after it was quantized."""

from dataclasses import dataclass, replace

from qexplorer.quant.arrays import Counts, Doubles
from qexplorer.quant.metrics import ErrorSums


@dataclass(frozen=True)
class PieceSums:
    """What a piece adds: sums, code counts and, where asked for, histograms; Σx² and Σe² of its rows, `[R]`, or of so
    many of them together.
    """

    sums: ErrorSums
    code_counts: Counts
    original: Counts
    dequantized: Counts
    errors: Counts
    row_x2: Doubles
    row_e2: Doubles

    def __add__(self, other: "PieceSums") -> "PieceSums":
        """This and another piece; what is known of single rows is left to the first."""
        return replace(
            self,
            sums=self.sums + other.sums,
            code_counts=self.code_counts + other.code_counts,
            original=self.original + other.original,
            dequantized=self.dequantized + other.dequantized,
            errors=self.errors + other.errors,
        )
