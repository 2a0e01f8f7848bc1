"""From a file's tensors to a module's, and what a module's tensors take."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps
from qexplorer.weights import TensorInfo, open_checkpoint
from qexplorer.weights.dtypes import DTYPES
from qexplorer.weights.text import shown, some

if TYPE_CHECKING:
    from torch import Tensor, nn

COUNTER = "num_batches_tracked"
"""Batch norm's count of training batches: inference does not use it, and old files lack it."""
ZERO_POINT = "zero_point"
"""Part of the name under which torch keeps an activation's zero point."""
SCALE_BYTES, ZERO_POINT_BYTES = 4, 1
"""A scale is counted as float32 and a zero point as a code of 8 bits, whatever a file format stores them as."""


def weight_files(path: Path) -> Steps[tuple[Path, ...]]:
    """The files in which the tensors lie that `path` (a file, an index, a folder) names, in the order of their names.

    What else lies in a folder is none of them.
    """
    checkpoint = yield from open_checkpoint(path)
    return tuple(sorted({info.file for info in checkpoint.tensors}))


def load_weights(module: "nn.Module", path: Path, model: str) -> Steps[None]:
    """Give a module the tensors of a file, floats as float32. Nothing but the header of one that does not fit is read.

    Raises `UserError` naming the tensors that are missing, too many, of another shape, no floats or not finite.
    """
    import torch

    checkpoint = yield from open_checkpoint(path)
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    _compare(wanted, checkpoint.by_name, shown(path.name), model)
    values: dict[str, NDArray[Any]] = {}
    for name in wanted:
        yield Progress(f"Reading {shown(path.name)}", len(values), len(wanted))
        info = checkpoint.by_name.get(name)
        array = np.zeros((), np.int64) if info is None else checkpoint.read(info)
        with np.errstate(over="ignore", invalid="ignore"):  # what no float32 can hold becomes Inf and is refused below
            values[name] = np.array(array, np.int64 if name.endswith(COUNTER) else np.float32)
    not_finite = [name for name, array in values.items() if not np.isfinite(array).all()]
    _refuse(f"{shown(path.name)} has NaN or Inf in", not_finite, model)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in values.items()})


def _compare(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, TensorInfo], file: str, model: str) -> None:
    lacking = [name for name in wanted.keys() - found.keys() if not name.endswith(COUNTER)]
    _refuse(f"{file} lacks", lacking, model)
    _refuse(f"{file} has more than the model takes:", found.keys() - wanted.keys(), model)
    both = {name: found[name] for name in wanted if name in found}
    shapes = [f"{n} {list(info.shape)} for {list(wanted[n])}" for n, info in both.items() if info.shape != wanted[n]]
    _refuse(f"{file} has tensors of another shape:", shapes, model)
    integers = [n for n, info in both.items() if not (n.endswith(COUNTER) or _is_float(info))]
    _refuse(f"{file} has no floating-point numbers in", integers, model)


def _is_float(info: TensorInfo) -> bool:
    """Whether it holds real numbers; one of a type that cannot be read says so when it is read."""
    return info.dtype not in DTYPES or DTYPES[info.dtype].values.kind == "f"


def _refuse(what: str, names: Iterable[str], model: str) -> None:
    names = sorted(names)
    if names:
        raise UserError(f"{what} {some(names, 3)}.", f"Choose weights of {model}.", field="weights")


def theoretical_bytes(state: Mapping[str, Any]) -> int:
    """What a state dict's numbers take without any container: values, scales, zero points, biases and buffers.

    A scale counts 32 bits and a zero point 8. Symmetric weights, whose zero points are all 0, have scales only, one a
    tensor or one a channel; each activation has both. `qexplorer.quant` counts the same.
    """
    return sum(_bytes(name, value) for name, value in state.items())


def _bytes(name: str, value: Any) -> int:
    import torch

    if isinstance(value, list | tuple):  # a packed layer: (weight, bias)
        return sum(_bytes(name, part) for part in value)
    if not isinstance(value, torch.Tensor):
        return 0
    if ZERO_POINT in name.rpartition(".")[2]:
        return value.numel() * ZERO_POINT_BYTES  # an activation's, which torch keeps in 64 bits
    return value.numel() * value.element_size() + (_parameter_bytes(value) if value.is_quantized else 0)


def _parameter_bytes(weight: "Tensor") -> int:
    import torch

    if weight.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return SCALE_BYTES + (ZERO_POINT_BYTES if weight.q_zero_point() else 0)
    points = weight.q_per_channel_zero_points()
    return len(points) * (SCALE_BYTES + (ZERO_POINT_BYTES if points.any() else 0))
