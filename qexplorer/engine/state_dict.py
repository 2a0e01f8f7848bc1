"""From a file's tensors to a module's, and what a module's tensors take."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps
from qexplorer.weights import open_checkpoint

if TYPE_CHECKING:
    from torch import nn

COUNTER = "num_batches_tracked"
"""Batch norm's count of training batches: inference does not use it, and old files lack it."""
SCALE_BYTES = ZERO_POINT_BYTES = 4
"""A scale counts as float32 and a zero point as int32, whatever a file format stores them as."""


def read_state(path: Path) -> Steps[dict[str, NDArray[Any]]]:
    """Every tensor of a file by its name."""
    checkpoint = yield from open_checkpoint(path)
    state: dict[str, NDArray[Any]] = {}
    for info in checkpoint.tensors:
        yield Progress(f"Reading {path.name}", len(state), len(checkpoint.tensors))
        state[info.name] = checkpoint.read(info)
    return state


def fill(module: "nn.Module", state: Mapping[str, NDArray[Any]], model: str, path: Path) -> None:
    """Give a module the values of `state`, floats as float32.

    Raises `UserError` naming the tensors that are missing, too many, of another shape, no floats or not finite.
    """
    import torch

    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {**{name: np.zeros((), np.int64) for name in wanted if name.endswith(COUNTER)}, **state}
    _refuse(f"{path.name} lacks", wanted.keys() - found.keys(), model)
    _refuse(f"{path.name} has more than the model takes:", found.keys() - wanted.keys(), model)
    shapes = [f"{n} {list(found[n].shape)} for {list(s)}" for n, s in wanted.items() if found[n].shape != s]
    _refuse(f"{path.name} has tensors of another shape:", shapes, model)
    integers = [n for n in wanted if found[n].dtype.kind != "f" and not n.endswith(COUNTER)]
    _refuse(f"{path.name} has no floating-point numbers in", integers, model)
    values = {n: np.array(found[n], np.int64 if n.endswith(COUNTER) else np.float32) for n in wanted}
    _refuse(f"{path.name} has NaN or Inf in", [n for n in values if not np.isfinite(values[n]).all()], model)
    module.load_state_dict({n: torch.from_numpy(array) for n, array in values.items()})


def _refuse(what: str, names: Iterable[str], model: str) -> None:
    names = sorted(names)
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        remedy = f"Choose weights of {model}."
        raise UserError(f"{what} {', '.join(names[:3])}{more}.", remedy, field="weights")


def theoretical_bytes(state: Mapping[str, Any]) -> int:
    """What a state dict's numbers take without any container: values, scales, zero points, biases and buffers."""
    return sum(_bytes(value) for value in state.values())


def _bytes(value: Any) -> int:
    import torch

    if isinstance(value, list | tuple):  # a packed layer: (weight, bias)
        return sum(_bytes(part) for part in value)
    if not isinstance(value, torch.Tensor):
        return 0
    scales = 0
    if value.is_quantized:
        per_channel = value.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric)
        scales = len(value.q_per_channel_scales()) if per_channel else 1
    return value.numel() * value.element_size() + scales * (SCALE_BYTES + ZERO_POINT_BYTES)
