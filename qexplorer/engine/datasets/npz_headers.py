"""What the headers of a `.npz` data set must say, checked before anything of it is read."""

from collections.abc import Mapping
from pathlib import Path

from qexplorer.engine.datasets import MOST_BYTES
from qexplorer.errors import UserError
from qexplorer.weights import TensorInfo

COUNTED_BY = {"x": "x", "y": "x", "test": "x", "x_test": "x_test", "y_test": "x_test"}
"""The arrays that are read, and whose length each must have."""
CHANNELS = (1, 3)
REMEDY = "It needs x (images) and y (labels), and may have x_test and y_test, or test, which marks the test samples."


def check_headers(path: Path, infos: Mapping[str, TensorInfo]) -> int:
    """How many bytes the arrays take together. A `UserError` says which one is missing, too large or no such thing."""
    _check_names(path, infos)
    for info in infos.values():
        _check_kind(path, info)
    for info in infos.values():
        _check_shape(path, info, infos[COUNTED_BY[info.name]])
    if "x_test" in infos and _size(infos["x_test"]) != _size(infos["x"]):
        sizes = f"{_shown(infos['x_test'])} for x_test and {_shown(infos['x'])} for x"
        raise UserError(f"{path} has images of two sizes: {sizes}.", field="data")
    nbytes = sum(info.nbytes for info in infos.values())
    if nbytes > MOST_BYTES:
        raise UserError(f"{path} holds {nbytes >> 20:,} MiB; at most {MOST_BYTES >> 20:,} MiB are read.", field="data")
    return nbytes


def _check_names(path: Path, names: Mapping[str, TensorInfo]) -> None:
    """Refuse an archive whose arrays do not say what trains and what tests."""
    needed = ("x", "y", *(("x_test", "y_test") if "x_test" in names or "y_test" in names else ()))
    lacking = [name for name in needed if name not in names]
    if lacking:
        raise UserError(f"{path} lacks {' and '.join(lacking)}.", REMEDY, field="data")
    if "test" in names and "x_test" in names:
        raise UserError(f"{path} has both x_test and test.", REMEDY, field="data")


def _check_kind(path: Path, info: TensorInfo) -> None:
    """Refuse an array that does not hold what its name promises."""
    if info.unsupported:
        raise UserError(f"{path} has {info.name}, which cannot be read: {info.unsupported}.", REMEDY, field="data")
    is_whole = info.dtype.removeprefix("u").startswith("int")
    if info.name.startswith("x"):
        fits, wanted = info.dtype == "uint8" or "float" in info.dtype, "uint8 or floats"
    elif info.name.startswith("y"):
        fits, wanted = is_whole, "whole numbers"
    else:
        fits, wanted = is_whole or info.dtype == "bool", "true or false, or 0 or 1"
    if not fits:
        raise UserError(f"{path} has {info.dtype} in {info.name} where {wanted} belong.", REMEDY, field="data")


def _check_shape(path: Path, info: TensorInfo, images: TensorInfo) -> None:
    """Refuse images that are none, an empty array, and one of another length than the `images` that it tells of."""
    if info.name.startswith("x"):
        fits = len(info.shape) == 3 or (len(info.shape) == 4 and {info.shape[1], info.shape[3]} & set(CHANNELS))
        wanted = "[N, H, W], [N, C, H, W] or [N, H, W, C] with C 1 or 3"
    else:
        fits, wanted = len(info.shape) == 1, "[N]"
    if not fits:
        raise UserError(f"{path} has {info.name} of shape {list(info.shape)}, not {wanted}.", REMEDY, field="data")
    if not info.n:
        raise UserError(f"{path} is empty: {info.name} has the shape {list(info.shape)}.", field="data")
    if info.shape[0] != images.shape[0]:
        what = f"{path} has {info.shape[0]:,} values in {info.name} for {images.shape[0]:,} images in {images.name}."
        raise UserError(what, field="data")


def _size(info: TensorInfo) -> tuple[int, ...]:
    """Channels, height and width of images of that shape."""
    if len(info.shape) == 3:
        return (1, *info.shape[1:])
    return info.shape[1:] if info.shape[1] in CHANNELS else (info.shape[3], *info.shape[1:3])


def _shown(info: TensorInfo) -> str:
    return " × ".join(map(str, _size(info)))
