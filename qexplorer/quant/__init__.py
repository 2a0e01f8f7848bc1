"""What a scheme does to numbers. NumPy and compiled kernels; never torch, Qt or files.

`kernels` is imported in functions: numba is slow to load, and small arrays do not need it. gguf is optional.
"""

from qexplorer.quant.analysis import Analysis, analyze
from qexplorer.quant.spec import QuantSpec

__all__ = ["Analysis", "QuantSpec", "analyze"]
