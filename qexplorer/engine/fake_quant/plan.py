"""What quantizing needs, as tensors: the parameters themselves, and the ends and tables that follow from them.

Float64 is used here, on the CPU, and only to find float32 bounds that decide every float32 as the exact ones would;
some devices have no float64.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qexplorer.errors import UserError
from qexplorer.quant.arrays import AnyArray, Doubles, Floats
from qexplorer.quant.formats import Format
from qexplorer.quant.formats.codebook import Codebook
from qexplorer.quant.formats.floating import Float
from qexplorer.quant.formats.gguf import GgufBlock
from qexplorer.quant.formats.integer import Integer
from qexplorer.quant.formats.kmeans import KMeans
from qexplorer.quant.params import QuantParams
from qexplorer.quant.rounding import Rounding, roundings

ARRAYS = ("scale", "zero_point", "divisor", "offset", "subtrahend", "levels")
"""The fields of `QuantParams` that are arrays, one entry a group."""
PLAIN = tuple(field.name for field in fields(QuantParams) if field.name not in ARRAYS)
DERIVED = ("low", "high", "zero", "table", "cuts")


@dataclass(frozen=True)
class Plan:
    """Everything that rows `[G, N]` are quantized with. Tensors are `[G]` float32 unless said.

    `low` and `high` are the ends, inclusive, between which a value is not clipped: of the level where levels are whole
    numbers, else of the quotient. `zero` is the level of NaN. `table` has levels, ascending, `[G, K]` or `[1, K]`; a
    quotient above `cuts[:, k]` belongs to a level above `table[:, k]`.
    """

    form: Format
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
        every = {"form": form, **plain, **parts}
        return cls(**{field.name: every[field.name] for field in fields(cls)})


def written(params: QuantParams) -> dict[str, Any]:
    """The fields that are no arrays, as JSON can hold them."""
    return {name: getattr(params, name) for name in PLAIN} | {"rounding": params.rounding.text}


def read_params(plain: Mapping[str, Any], arrays: Mapping[str, Any]) -> QuantParams:
    """The parameters of what `written` gave, and of `ARRAYS`."""
    return QuantParams(**{**plain, **arrays, "rounding": roundings.parse(plain["rounding"])})


def element_of(form: Format) -> Format:
    """The format of the single values of a block format, else the format itself."""
    return getattr(form, "element", form)


def tensors(form: Format, params: QuantParams, device: Any) -> dict[str, Tensor | None]:
    """`ARRAYS` and `DERIVED` by their names, on the device."""
    arrays: dict[str, AnyArray | None] = {name: getattr(params, name) for name in ARRAYS}
    arrays.update(dict.fromkeys(DERIVED), zero=np.zeros(1, np.float32))
    arrays.update(_derived(element_of(form), params))
    return {name: None if array is None else torch.tensor(array, device=device) for name, array in arrays.items()}


def _derived(form: Format, params: QuantParams) -> dict[str, AnyArray]:
    match form:
        case Integer():
            return _whole(params)
        case GgufBlock():
            return {"low": _float32(form.least), "high": _float32(form.most)}
        case Float():
            below = np.nextafter(_float32(form.number.overflow), np.float32(0))
            return {"low": -below, "high": below}
        case Codebook():
            levels = np.unique(_float32(*form.levels))[None] + np.float32(0)  # one zero, which has no sign
            cuts = _middles(levels)
            least, most, _ = form.extent
            return _table(levels, cuts, 2 * least - cuts[:, 0], 2 * most - cuts[:, -1])
        case KMeans() if params.levels is not None:
            levels = params.levels
            wide = levels.astype(np.float64)
            reach = (wide[:, -1] - wide[:, 0]) / max(levels.shape[1] - 1, 1)
            return _table(levels, _middles(levels), wide[:, 0] - reach, wide[:, -1] + reach)
        case _:
            raise UserError(f"Fake quantization does not know {form.title}.", field="format")


def _float32(*values: float) -> Floats:
    return np.array(values, np.float32)


def _whole(params: QuantParams) -> dict[str, AnyArray]:
    """Levels count from the zero point; with a float one, that of NaN is the level nearest to the value 0."""
    ends = {name: (code - params.zero_point).astype(np.float32)
            for name, code in (("low", params.qmin), ("high", params.qmax))}  # fmt: skip
    if params.offset is not None:
        zero = np.rint(-params.offset.astype(np.float64) / params.scale.astype(np.float64))
        ends["zero"] = np.clip(zero, ends["low"], ends["high"]).astype(np.float32)
    return ends


def _middles(levels: Floats) -> Doubles:
    middles: Doubles = (levels[:, 1:].astype(np.float64) + levels[:, :-1]) / 2
    return middles


def _table(levels: Floats, cuts: Doubles, low: Doubles, high: Doubles) -> dict[str, AnyArray]:
    return {"table": levels, "cuts": _rounded_down(cuts), "low": -_rounded_down(-low), "high": _rounded_down(high)}


def _rounded_down(bounds: Doubles) -> Floats:
    """The greatest float32 not above each bound: a float32 lies above the one just if it lies above the other."""
    with np.errstate(over="ignore"):  # a bound that no float32 reaches becomes the greatest of them
        near = bounds.astype(np.float32)
    return np.where(near > bounds, np.nextafter(near, np.float32(-np.inf)), near)
