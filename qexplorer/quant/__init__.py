"""What a scheme does to numbers. NumPy and compiled kernels; never torch, Qt or files."""

from qexplorer.quant.analysis import Analysis, analyze
from qexplorer.quant.spec import QuantSpec

__all__ = ["Analysis", "QuantSpec", "analyze"]
