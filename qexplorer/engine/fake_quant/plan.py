"""What quantizing needs, as tensors: the parameters themselves, and the ends and tables that follow from them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from qexplorer.quant.arrays import AnyArray
from qexplorer.quant.formats import Format
from qexplorer.quant.level_rules import LevelEnds, LevelRule
from qexplorer.quant.params import QuantParams
from qexplorer.quant.rounding import Rounding, roundings

ARRAYS = ("scale", "zero_point", "divisor", "offset", "subtrahend", "levels")
"""The fields of `QuantParams` that are arrays, one entry a group."""
PLAIN = tuple(field.name for field in fields(QuantParams) if field.name not in ARRAYS)
DERIVED = tuple(field.name for field in fields(LevelEnds))


@dataclass(frozen=True)
class Plan:
    """Everything that rows `[G, N]` are quantized with: tensors as in `QuantParams` and `LevelEnds`, `[G]` float32."""

    rule: LevelRule
    rounding: Rounding
    division: str
    first: int
    scale: Tensor
    divisor: Tensor | None
    offset: Tensor | None
    subtrahend: Tensor | None
    low: Tensor
    high: Tensor
    zero: Tensor
    table: Tensor | None
    cuts: Tensor | None

    @classmethod
    def of(cls, form: Format, plain: Mapping[str, Any], parts: Mapping[str, Any]) -> "Plan":
        """A plan from the fields of `QuantParams` that are no arrays, and from `tensors`."""
        every = {"rule": form.rule, **plain, **parts}
        return cls(**{field.name: every[field.name] for field in fields(cls)})


def written(params: QuantParams) -> dict[str, Any]:
    """The fields that are no arrays, as JSON can hold them."""
    return {name: getattr(params, name) for name in PLAIN} | {"rounding": params.rounding.text}


def read_params(plain: Mapping[str, Any], arrays: Mapping[str, Any]) -> QuantParams:
    """The parameters of what `written` gave, and of `ARRAYS`."""
    return QuantParams(**{**plain, **arrays, "rounding": roundings.parse(plain["rounding"])})


def tensors(form: Format, params: QuantParams, device: Any) -> dict[str, Tensor | None]:
    """`ARRAYS` and `DERIVED` by their names, on the device."""
    ends = form.level_ends(params)
    arrays: dict[str, AnyArray | None] = {name: getattr(params, name) for name in ARRAYS}
    arrays |= {name: getattr(ends, name) for name in DERIVED}
    return {name: None if array is None else torch.tensor(array, device=device) for name, array in arrays.items()}
