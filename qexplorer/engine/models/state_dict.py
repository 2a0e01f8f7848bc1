"""From a file's tensors to a module's, and what a module's tensors take."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.models.tensor_names import Found, Shapes, match_names
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps
from qexplorer.text import first_few, printable
from qexplorer.weights import TensorInfo, open_checkpoint
from qexplorer.weights.checkpoint import require_room
from qexplorer.weights.dtypes import DTYPES

if TYPE_CHECKING:
    from torch import Tensor, nn

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

    Names need not be the same to the letter: `match_names` says how they may differ. Raises `UserError` naming the
    tensors that are missing, too many, of another shape, no floats or not finite.
    """
    import torch

    checkpoint = yield from open_checkpoint(path)
    own: dict[str, Any] = module.state_dict()
    wanted = {name: tensor for name, tensor in own.items() if isinstance(tensor, torch.Tensor)}
    shapes = {name: tuple(tensor.shape) for name, tensor in wanted.items()}
    floats = {name for name, tensor in wanted.items() if tensor.is_floating_point()}
    found = match_names(shapes, checkpoint.by_name, printable(path.name), model)
    _compare(shapes, floats, found, printable(path.name), model)
    require_room(4 * sum(info.n for info in found.values()), path.name, f"the {len(found):,} tensors of {model}")
    values: dict[str, NDArray[Any]] = {}
    for name, info in found.items():
        yield Progress(f"Reading {printable(path.name)}", len(values), len(found))
        with np.errstate(over="ignore", invalid="ignore"):  # what no float32 can hold becomes Inf and is refused below
            values[name] = np.array(checkpoint.read(info), np.float32 if name in floats else np.int64)
    not_finite = [name for name, array in values.items() if not np.isfinite(array).all()]
    _refuse(f"{printable(path.name)} has NaN or Inf in", not_finite, model)
    counters = {name: torch.zeros_like(wanted[name]) for name in wanted.keys() - found.keys()}
    module.load_state_dict({**own, **counters, **{name: torch.from_numpy(array) for name, array in values.items()}})


def _compare(shapes: Shapes, floats: set[str], found: Found, file: str, model: str) -> None:
    others = [f"{n} {list(info.shape)} for {list(shapes[n])}" for n, info in found.items() if info.shape != shapes[n]]
    _refuse(f"{file} has tensors of another shape:", others, model)
    integers = [name for name, info in found.items() if name in floats and not _is_float(info)]
    _refuse(f"{file} has no floating-point numbers in", integers, model)


def _is_float(info: TensorInfo) -> bool:
    """Whether it holds real numbers; one of a type that cannot be read says so when it is read."""
    return info.dtype not in DTYPES or DTYPES[info.dtype].values.kind == "f"


def _refuse(what: str, names: Iterable[str], model: str) -> None:
    names = sorted(names)
    if names:
        raise UserError(f"{what} {first_few(names, 3)}.", f"Choose weights of {model}.", field="weights")


def theoretical_bytes(state: Mapping[str, Any]) -> int:
    """What a state dict's numbers take without any container: values, scales, zero points, biases and buffers.

    A scale counts 32 bits and a zero point 8. Symmetric weights, whose zero points are all 0, have scales only, one a
    tensor or one a channel; each activation has both. `qexplorer.quant` counts the same.
    """
    return sum(_bytes(name, value) for name, value in state.items())


def _bytes(name: str, value: Any) -> int:
    import torch

    unpack = getattr(value, "unpack", None)
    if isinstance(value, torch.ScriptObject) and unpack:  # weights without a module of their own
        value = unpack()
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
