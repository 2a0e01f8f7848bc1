"""Error metrics, computed in float64 from sums. SQNR is signal power over error power, 10·log₁₀(Σx²/Σe²)."""

import math
from dataclasses import dataclass

import numpy as np

from qexplorer.quant.arrays import Counts, Doubles


@dataclass(frozen=True)
class ErrorSums:
    """Sums over the finite values x of a tensor, their dequantized values y and the errors e = y − x."""

    n: int = 0
    e2: float = 0.0
    e1: float = 0.0
    e_max: float = 0.0
    x2: float = 0.0
    y2: float = 0.0
    xy: float = 0.0
    clipped: float = 0.0

    def __add__(self, other: "ErrorSums") -> "ErrorSums":
        return ErrorSums(self.n + other.n, self.e2 + other.e2, self.e1 + other.e1, max(self.e_max, other.e_max),
                         self.x2 + other.x2, self.y2 + other.y2, self.xy + other.xy,
                         self.clipped + other.clipped)  # fmt: skip


@dataclass(frozen=True)
class Metrics:
    """What quantizing a tensor did to it and what it costs.

    `mse`, `rmse`, `mae` and `max_abs_error` are in the tensor's own unit (squared for `mse`), `sqnr_db` in decibels
    (infinite without error), `relative_rmse` = ‖e‖/‖x‖, `clipped_fraction` the share of values beyond the codes
    before clamping; all of these are NaN where no value is finite. `code_utilization` is the share of codes in use,
    `code_entropy_bits` = −Σ p·log₂ p of the codes, `bytes` the quantized size with scales and zero points,
    `original_bytes` the size as stored.
    """

    n: int
    nonfinite: int
    mse: float
    rmse: float
    mae: float
    max_abs_error: float
    sqnr_db: float
    cosine: float
    relative_rmse: float
    clipped_fraction: float
    code_utilization: float
    code_entropy_bits: float
    bits_per_weight: float
    bytes: int
    original_bytes: int


def sqnr_db(x2: float, e2: float) -> float:
    """10·log₁₀(Σx²/Σe²) in dB: +∞ without error, −∞ where there is nothing but error."""
    if e2 == 0:
        return math.inf
    ratio = x2 / e2 if math.isfinite(e2) else 0.0
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf


def channels_db(x2: Doubles, e2: Doubles) -> Doubles:
    """`sqnr_db` of many channels, `[C]`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 10 * np.log10(x2 / e2)
    found[(x2 <= 0) | ~np.isfinite(e2)] = -np.inf
    found[e2 == 0] = np.inf
    return found


def cosine(sums: ErrorSums) -> float:
    """Σxy/(‖x‖·‖y‖); 1 where both are zero, 0 where one is zero or infinite."""
    if sums.x2 == 0 or sums.y2 == 0:
        return 1.0 if sums.x2 == sums.y2 else 0.0
    return sums.xy / math.sqrt(sums.x2 * sums.y2) if math.isfinite(sums.y2) else 0.0


def relative_rmse(sums: ErrorSums) -> float:
    """‖e‖/‖x‖; 0 without error, infinite where there is nothing but error."""
    if sums.e2 == 0:
        return 0.0
    return math.sqrt(sums.e2 / sums.x2) if sums.x2 else math.inf


def entropy_bits(counts: Counts) -> float:
    """−Σ p·log₂ p of code counts, in bits."""
    used = counts[counts > 0].astype(np.float64)
    share = used / used.sum() if used.size else used
    return float(-(share * np.log2(share)).sum()) + 0.0


def summarize(
    sums: ErrorSums, code_counts: Counts, *, size: int, codes: int, quantized_bits: int, original_bytes: int
) -> Metrics:
    """The metrics of a tensor of `size` values; `quantized_bits` counts values, scales and zero points."""
    n = sums.n or math.nan
    return Metrics(
        n=size,
        nonfinite=size - sums.n,
        mse=sums.e2 / n,
        rmse=math.sqrt(sums.e2 / n),
        mae=sums.e1 / n,
        max_abs_error=sums.e_max,
        sqnr_db=sqnr_db(sums.x2, sums.e2) if sums.n else math.nan,
        cosine=cosine(sums) if sums.n else math.nan,
        relative_rmse=relative_rmse(sums) if sums.n else math.nan,
        clipped_fraction=sums.clipped / n,
        code_utilization=int(np.count_nonzero(code_counts)) / codes,
        code_entropy_bits=entropy_bits(code_counts),
        bits_per_weight=quantized_bits / max(size, 1),
        bytes=-(-quantized_bits // 8),
        original_bytes=original_bytes,
    )
