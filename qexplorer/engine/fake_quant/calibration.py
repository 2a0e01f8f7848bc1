"""Calibration: a spec's observer, folded over a stream of values."""

from dataclasses import replace
from typing import Any

import numpy as np

from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant.arrays import Doubles, Floats
from qexplorer.quant.params import QuantParams
from qexplorer.quant.quantize import range_of_stats, tensor_reach
from qexplorer.quant.scale_dtypes import LEAST
from qexplorer.quant.spec import QuantSpec


class Calibration:
    """What is known after some blocks of rows `[G, N]`; G must stay the same, N need not.

    Values themselves are kept only for formats that choose their parameters from them and not from a range alone.
    """

    def __init__(self, spec: QuantSpec) -> None:
        self.spec = spec
        self.groups = 0
        self._stats: Any = None
        self._reach: float | None = None
        self._kept: list[Floats] = []
        self._magnitudes: Doubles = np.zeros(0)
        self._counts: Doubles = np.zeros(0)

    def update(self, rows: Floats) -> None:
        """Fold a block of values `[G, N]`, which must not be changed afterwards."""
        if not self.groups:
            self.groups = len(rows)
            self._magnitudes, self._counts = np.zeros(self.groups), np.zeros(self.groups)
        if len(rows) != self.groups:
            raise UserError(f"Values in {len(rows)} groups cannot follow values in {self.groups}.",
                            "Take groups whose number does not depend on the batch.", field="granularity")  # fmt: skip
        reach = tensor_reach(self.spec, rows)
        self._reach = reach if self._reach is None else max(self._reach, reach or 0.0)
        self._stats = self.spec.observer.update(self._stats, rows)
        if self.spec.format.learns:
            self._kept.append(rows)
        finite = np.isfinite(rows)
        self._magnitudes += np.abs(rows, where=finite, out=np.zeros_like(rows)).sum(axis=1, dtype=np.float64)
        self._counts += finite.sum(axis=1)

    def params(self) -> QuantParams:
        """The parameters for all that was seen; for a single block they are those of `quant.quantize`."""
        if not self.groups:
            raise UserError("Nothing was observed yet.", "Run values through it first.")
        lo, hi = finish(range_of_stats(self.spec, self._stats, self._reach))
        rows = np.concatenate(self._kept, axis=1) if self._kept else np.zeros((self.groups, 0), np.float32)
        return finish(self.spec.format.fit(rows, lo, hi, self.spec.choices))

    def lsq_params(self) -> QuantParams:
        """The same with the scales with which LSQ starts: 2·mean|x|/√Q_P."""
        params = self.params()
        mean = self._magnitudes / np.maximum(self._counts, 1)
        scale = np.maximum(2 * mean / np.sqrt(positive_levels(params)), LEAST)
        return replace(params, scale=scale.astype(np.float32))


def positive_levels(params: QuantParams) -> Doubles:
    """Q_P of each group, `[G]`: the levels above zero, or half of all where the zero point leaves fewer than that."""
    return np.maximum(params.qmax - params.zero_point, (params.qmax - params.qmin) // 2).astype(np.float64)
