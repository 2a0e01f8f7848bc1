"""Error metrics, computed in float64 from sums. SQNR is signal power over error power, 10·log₁₀(Σx²/Σe²)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from qexplorer.quant.arrays import Counts, Doubles

TOLD_APART, ALIKE_DB = 0.01, 100.0


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
    x_zeros: float = 0.0
    y_zeros: float = 0.0

    def __add__(self, other: "ErrorSums") -> "ErrorSums":
        return ErrorSums(self.n + other.n, self.e2 + other.e2, self.e1 + other.e1, max(self.e_max, other.e_max),
                         self.x2 + other.x2, self.y2 + other.y2, self.xy + other.xy,
                         self.clipped + other.clipped, self.x_zeros + other.x_zeros,
                         self.y_zeros + other.y_zeros)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Metrics:
    """What quantizing a tensor did to it and what it costs; without figures where it cannot be quantized.

    `mse`, `rmse`, `mae` and `max_abs_error` are in the tensor's own unit (squared for `mse`), `sqnr_db` in decibels
    (infinite without error), `relative_rmse` = ‖e‖/‖x‖, `clipped_fraction` the share of values beyond the codes
    before clamping, `original_sparsity` and `sparsity` the share of zeros before and after; all of these are NaN where
    no value is finite; `sqnr_db`, `cosine` and `relative_rmse` also where none of them is other than zero.
    `code_utilization` is the share of codes in use, `code_entropy_bits` = −Σ p·log₂ p of the codes,
    `top_code_fraction` the share of values on the code that most have, `bytes` the quantized size with scales and zero
    points, `original_bytes` the size as stored.
    """

    n: int = 0
    nonfinite: int = 0
    mse: float = math.nan
    rmse: float = math.nan
    mae: float = math.nan
    max_abs_error: float = math.nan
    sqnr_db: float = math.nan
    cosine: float = math.nan
    relative_rmse: float = math.nan
    clipped_fraction: float = math.nan
    original_sparsity: float = math.nan
    sparsity: float = math.nan
    code_utilization: float = math.nan
    code_entropy_bits: float = math.nan
    top_code_fraction: float = math.nan
    bits_per_weight: float = math.nan
    bytes: float = math.nan
    original_bytes: int = 0

    @property
    def lost(self) -> bool:
        """Whether hardly anything is left of what tells the values apart, whatever the SQNR: of those that are not zero
        fewer than `TOLD_APART` have another code than most. A single large value can make an SQNR of 20 dB where all
        others become zero. Beyond `ALIKE_DB` they are alike anyway.
        """
        return self.sqnr_db < ALIKE_DB and 1 - self.top_code_fraction < TOLD_APART * (1 - self.original_sparsity)


@dataclass(frozen=True)
class Metric:
    """One figure of `Metrics`, its field `key`: how it is called, explained and written wherever it is shown.

    Whatever lists figures (a command's table, the window's list, the columns of a scan) goes through `METRICS`, so
    that a new one is a field of `Metrics`, a line in `summarize` and a line here; where it needs a sum of its own, that
    is added to `ErrorSums`, the reference in `error_sums` and the kernels, and its bound on a sketch to `bounds`.

    `unit` is "dB", "%" for a share of 1, "bits", "B" for bytes, or empty for the weights' own. `better` says which end
    is good. `column` is the title in the table of a command, empty where it is not one of the few shown there, and
    `form` the Python format of a figure in it. `header` is likewise that in the window's table of layers, whose columns
    of the highest `rank` are the first to be hidden where there is no room. The CSV of a scan has what either has.
    """

    key: str
    title: str
    unit: str
    help: str
    better: Literal["high", "low", ""]
    read: Callable[[Metrics], float]
    column: str = ""
    form: str = ".4g"
    header: str = ""
    rank: int = 0

    def text(self, metrics: Metrics) -> str:
        """The figure as it stands in a plain table."""
        return format(self.read(metrics), self.form)


METRICS = (
    Metric("sqnr_db", "SQNR", "dB", "Signal-to-quantization-noise ratio, 10·log₁₀(Σx²/Σe²): one more bit is worth "
           "about 6 dB.", "high", lambda m: m.sqnr_db, "SQNR dB", ".2f", "SQNR, dB"),
    Metric("mse", "Mean squared error", "", "Σe²/n, in the square of the weights' unit. “Optimal” minimizes it.",
           "low", lambda m: m.mse, "MSE", ".3e"),
    Metric("rmse", "RMS error", "", "√(Σe²/n). Rounding alone gives about S/√12 ≈ 0.29 S.", "low", lambda m: m.rmse),
    Metric("mae", "Mean absolute error", "", "Σ|e|/n, the average distance from the original.", "low", lambda m: m.mae),
    Metric("max_abs_error", "Worst error", "", "max |e|. Of integers above S/2 (S, toward zero) some value was "
           "clipped.", "low", lambda m: m.max_abs_error, "worst error", ".3e"),
    Metric("relative_rmse", "Relative error", "%", "‖e‖/‖x‖: the error beside the weights' own size.", "low",
           lambda m: m.relative_rmse, form=".3%", header="Rel. RMSE", rank=4),
    Metric("cosine", "Cosine", "", "Σxy/(‖x‖‖y‖): 1 where both point the same way.", "high",
           lambda m: m.cosine, form=".6f"),
    Metric("clipped_fraction", "Clipped", "%", "Share of values beyond the codes, before clamping.", "low",
           lambda m: m.clipped_fraction, "clipped", ".3%"),
    Metric("original_sparsity", "Zeros before", "%", "Share of values that are zero in the file.", "",
           lambda m: m.original_sparsity, "zeros before", ".2%"),
    Metric("sparsity", "Zeros after", "%", "Share of values that are zero once quantized: small weights round to it.",
           "", lambda m: m.sparsity, "zeros after", ".2%"),
    Metric("code_utilization", "Codes used", "%", "Distinct codes in use, of those that the scheme allows.", "high",
           lambda m: m.code_utilization, form=".1%"),
    Metric("code_entropy_bits", "Code entropy", "bits", "−Σ p·log₂ p of the codes: what they carry, and what a perfect "
           "compressor would need for each.", "", lambda m: m.code_entropy_bits, form=".2f"),
    Metric("bits_per_weight", "Bits per weight", "bits", "Codes, scales and zero points, divided by the number of "
           "weights.", "low", lambda m: m.bits_per_weight, "bits/weight", ".3f"),
    Metric("bytes", "Size", "B", "What the tensor takes when its codes are packed, with scales and zero points.",
           "low", lambda m: m.bytes, "bytes", ",", "Quantized", 3),
    Metric("nonfinite", "Not finite", "", "NaN and infinite values in the file; in no figure here.", "low",
           lambda m: m.nonfinite, form=","),
)  # fmt: skip
"""All figures, in the order in which they are shown."""


def sqnr_db(x2: float, e2: float) -> float:
    """10·log₁₀(Σx²/Σe²) in dB: +∞ without error, −∞ where there is nothing but error."""
    if e2 == 0:
        return math.inf
    ratio = x2 / e2 if math.isfinite(e2) else 0.0
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf


def channels_db(x2: Doubles, e2: Doubles) -> Doubles:
    """`sqnr_db` of many channels, `[C]`; NaN where a channel has no signal to compare its error with."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 10 * np.log10(x2 / e2)
    found[~np.isfinite(e2)] = -np.inf
    found[e2 == 0] = np.inf
    found[x2 <= 0] = np.nan
    return found


def cosine(sums: ErrorSums) -> float:
    """Σxy/(‖x‖·‖y‖); 0 where one is zero or infinite."""
    if sums.x2 == 0 or sums.y2 == 0:
        return 0.0
    return sums.xy / math.sqrt(sums.x2 * sums.y2) if math.isfinite(sums.y2) else 0.0


def relative_rmse(sums: ErrorSums) -> float:
    """‖e‖/‖x‖ of what is not zero throughout."""
    return math.sqrt(sums.e2 / sums.x2)


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
    signal = sums.x2 > 0  # without one no error is small or large
    return Metrics(
        n=size,
        nonfinite=size - sums.n,
        mse=sums.e2 / n,
        rmse=math.sqrt(sums.e2 / n),
        mae=sums.e1 / n,
        max_abs_error=sums.e_max,
        sqnr_db=sqnr_db(sums.x2, sums.e2) if signal else math.nan,
        cosine=cosine(sums) if signal else math.nan,
        relative_rmse=relative_rmse(sums) if signal else math.nan,
        clipped_fraction=sums.clipped / n,
        original_sparsity=sums.x_zeros / n,
        sparsity=sums.y_zeros / n,
        code_utilization=int(np.count_nonzero(code_counts)) / codes,
        code_entropy_bits=entropy_bits(code_counts),
        top_code_fraction=int(code_counts.max(initial=0)) / n,
        bits_per_weight=quantized_bits / max(size, 1),
        bytes=-(-quantized_bits // 8),
        original_bytes=original_bytes,
    )
