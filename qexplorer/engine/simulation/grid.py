"""The grid of a layer's weights, asked weight by weight."""

from dataclasses import replace

import torch
from torch import Tensor

from qexplorer.engine.fake_quant import FakeQuantize
from qexplorer.engine.fake_quant.executor import StraightThrough
from qexplorer.engine.fake_quant.plan import Plan
from qexplorer.engine.fake_quant.tiles import restore, tiling_for


class WeightGrid:
    """Weights [out, …] as a matrix [out, K] whose every entry knows the scale of its group."""

    def __init__(self, weight: Tensor, quantizer: FakeQuantize) -> None:
        tiling = tiling_for(quantizer.spec.granularity, weight)
        places = torch.arange(tiling.groups, device=weight.device)[:, None]
        places = places.expand(-1, tiling.height * tiling.width)
        self.groups = restore(places, tiling).reshape(len(weight), -1)
        self.plan = quantizer.plan()

    def nearest(self, values: Tensor, column: int) -> Tensor:
        """The nearest levels to the values [out] of one column."""
        plan = self._take(self.groups[:, column])
        return StraightThrough.apply(values[:, None], plan.scale, plan, 1.0)[:, 0]  # pyright: ignore[reportOptionalSubscript]

    def whole(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """For levels that are whole numbers: scale, least and greatest level, and offset of every entry, [out, K]."""
        plan = self._take(self.groups.reshape(-1))
        shape = self.groups.shape
        offset = torch.zeros_like(plan.scale) if plan.offset is None else plan.offset
        parts = (plan.scale, plan.low, plan.high, offset)
        return tuple(part.expand(self.groups.numel()).reshape(shape) for part in parts)  # pyright: ignore[reportReturnType]

    def _take(self, groups: Tensor) -> Plan:
        """The plan of rows that belong to these groups, in this order."""
        plan = self.plan

        def of(part: Tensor | None) -> Tensor | None:
            return part[groups] if part is not None and len(part) > 1 else part

        names = ("scale", "divisor", "offset", "subtrahend", "low", "high", "zero", "table", "cuts")
        return replace(plan, **{name: of(getattr(plan, name)) for name in names})
