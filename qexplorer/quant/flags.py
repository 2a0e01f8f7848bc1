"""What is odd about the values of a tensor: NaN, infinities, nothing but zeros, what float32 cannot hold."""

import math
from dataclasses import dataclass

import numpy as np

from qexplorer.numbers import count, figure
from qexplorer.progress import Progress, Steps
from qexplorer.quant.arrays import AnyArray
from qexplorer.quant.pool import each
from qexplorer.quant.sketch import Sketch, sketch
from qexplorer.quant.tensor_source import LARGEST, Values, widened

PIECE = 1 << 20
"""Values that are looked at in one step."""
LEAST_NORMAL = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class Flags:
    """How many of `n` values are NaN or infinite, too large or too small for float32, or subnormal there. `lo` and `hi`
    are the least and greatest finite value as stored; NaN where there is none.
    """

    n: int = 0
    nan: int = 0
    inf: int = 0
    too_large: int = 0
    too_small: int = 0
    subnormal: int = 0
    lo: float = math.nan
    hi: float = math.nan

    @property
    def names(self) -> tuple[str, ...]:
        """What is odd, in words that scripts know, the worst first."""
        found = {
            "nan": self.nan > 0,
            "inf": self.inf > 0,
            "beyond_float32": self.too_large + self.too_small > 0 or self.merged,
            "zero": self.lo == self.hi == 0,
            "constant": self.lo == self.hi != 0 and self.n > 1,
            "subnormal": self.subnormal > 0,
        }
        return tuple(name for name, holds in found.items() if holds)

    @property
    def text(self) -> str:
        """The same for a person, with figures; empty where nothing is odd."""
        texts = (
            f"{count(self.nan)} NaN" if self.nan else "",
            f"{count(self.inf)} infinite" if self.inf else "",
            f"{count(self.too_large)} beyond float32" if self.too_large else "",
            f"{count(self.too_small)} too small for float32" if self.too_small else "",
            f"all {figure(self.lo)} in float32" if self.merged else "",
            "all zero" if "zero" in self.names else "",
            f"all equal to {figure(self.lo)}" if "constant" in self.names else "",
            f"{count(self.subnormal)} subnormal" if self.subnormal else "",
        )
        return ", ".join(filter(None, texts))

    @property
    def mark(self) -> str:
        """What of it spoils a figure, in a word or two; empty where figures can be trusted."""
        words = {"nan": "NaN", "inf": "Inf", "beyond_float32": ">float32", "zero": "all zero"}
        return ", ".join(words[name] for name in self.names if name in words)

    @property
    def merged(self) -> bool:
        """Whether values of float64 differ by less than float32 can tell."""
        return self.too_large == 0 and self.lo != self.hi and np.float32(self.lo) == np.float32(self.hi) != 0

    @property
    def broken(self) -> bool:
        """Whether there are values that no arithmetic can use."""
        return self.nan + self.inf + self.too_large > 0

    def __add__(self, other: "Flags") -> "Flags":
        lo, hi = np.fmin(self.lo, other.lo), np.fmax(self.hi, other.hi)
        return Flags(self.n + other.n, self.nan + other.nan, self.inf + other.inf, self.too_large + other.too_large,
                     self.too_small + other.too_small, self.subnormal + other.subnormal, float(lo),
                     float(hi))  # fmt: skip


NO_FLAGS = Flags()
"""Those of a tensor that was not looked at."""


def flags_of(values: Values, whole: Sketch | None = None) -> Steps[Flags]:
    """The flags of a tensor, from its sketch alone where that tells them all. Nothing is too odd for it."""
    if values.dtype.itemsize <= 4:
        whole = whole or (yield from sketch(values))
        size = np.abs(whole.values)
        subnormal = (size < LEAST_NORMAL) & ((size > 0) | (whole.variance > 0))
        if not whole.nonfinite and not subnormal.any():
            ends = (float(whole.values[0]), float(whole.values[-1])) if whole.n else (math.nan, math.nan)
            return Flags(whole.n, lo=ends[0], hi=ends[1])
    found = Flags()

    def look(share: range) -> Steps[Flags]:
        yield Progress("Looking at the values")
        return _of_values(values.read(share.start, share.stop))

    def take(share: range, more: Flags) -> None:
        nonlocal found
        del share
        found += more

    shares = [range(at, min(at + PIECE, values.n)) for at in range(0, values.n, PIECE)]
    yield from each("Looking at the values", shares, look, take, len, values.n)
    return found


def _of_values(raw: AnyArray) -> Flags:
    stored = raw if raw.dtype.itemsize > 4 else widened(raw)
    finite = stored[np.isfinite(stored)]
    nan = int(np.isnan(stored).sum())
    with np.errstate(over="ignore"):
        held = finite.astype(np.float32)
    large, size = np.abs(finite) > LARGEST, np.abs(held)
    return Flags(
        n=stored.size,
        nan=nan,
        inf=stored.size - finite.size - nan,
        too_large=int(large.sum()),
        too_small=int(((held == 0) & (finite != 0)).sum()),
        subnormal=int(((size > 0) & (size < LEAST_NORMAL)).sum()),
        lo=float(finite.min()) if finite.size else math.nan,
        hi=float(finite.max()) if finite.size else math.nan,
    )
