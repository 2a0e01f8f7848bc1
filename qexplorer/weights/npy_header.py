"""The header of a `.npy` array, read with patterns rather than evaluated.

Layout: NumPy, `numpy/lib/_format_impl.py`: a magic, a version, a length, then a Python dictionary as text.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from qexplorer.text import printable
from qexplorer.weights import limits
from qexplorer.weights.checkpoint import FormatError
from qexplorer.weights.dtypes import DTYPES
from qexplorer.weights.shapes import checked_shape
from qexplorer.weights.strided import Strided, c_strides

MAGIC = b"\x93NUMPY"
PREFIX_BYTES = 12

_KEYS = re.compile(r"""['"]([^'"]*)['"]\s*:""")
_EXPECTED_KEYS = ["descr", "fortran_order", "shape"]
_SHAPE = re.compile(r"'shape'\s*:\s*\(([^()]*)\)")
_TUPLE = re.compile(r"\s*|\s*-?\d{1,20}L?\s*,(\s*-?\d{1,20}L?\s*,)*(\s*-?\d{1,20}L?)?\s*", re.ASCII)
"""What stands between a tuple's brackets; Python 2 wrote an L after its long numbers."""
_ORDER = re.compile(r"'fortran_order'\s*:\s*(True|False)")
_DESCR = re.compile(r"'descr'\s*:\s*'([<>|=]?)([A-Za-z?])(\d{0,9})(\[\w+\])?'", re.ASCII)
_OBJECT_FIELD = re.compile(r"'[<>|=]?O\d*'", re.ASCII)
_MEND = "The file is damaged or was altered."
_NAMES = {dtype.raw.str[1:]: dtype.name for dtype in DTYPES.values() if dtype.raw == dtype.values} | {"b1": "bool"}
_KINDS = {"S": "bytes", "U": "texts", "M": "dates", "m": "durations", "V": "raw bytes", "f": "extended floats"}


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """One array as its header describes it; `unsupported` says why its numbers cannot be shown, `raw` how they lie."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: str
    raw: np.dtype[Any]
    data_start: int
    unsupported: str = ""
    warning: str = ""

    @property
    def nbytes(self) -> int:
        """What the array takes after its header."""
        return math.prod(self.shape) * self.raw.itemsize

    def strided(self, offset: int) -> Strided:
        """Where its elements lie when the whole array begins at byte `offset`."""
        strides = c_strides(self.shape[::-1])[::-1] if self.is_fortran else c_strides(self.shape)
        return Strided(offset + self.data_start, self.raw, self.shape, strides)


def read_header(read: Callable[[int], bytes], where: str, name: str) -> NpyHeader:
    """The header at the beginning of an array, of which `read(n)` gives the first `n` bytes. Raises `FormatError`."""
    prefix = read(PREFIX_BYTES)
    if not prefix.startswith(MAGIC):
        raise FormatError("BadHeader", where, f"the array {printable(name)} does not begin as NumPy's do.", _MEND)
    if len(prefix) < PREFIX_BYTES:
        what = f"it ends within the header of {printable(name)}."
        raise FormatError("Truncated", where, what, "The file is incomplete. Download it again.")
    version = prefix[6]
    if version not in (1, 2, 3):
        raise FormatError("BadHeader", where, f"version {version} of NumPy's format is not known.", _MEND)
    length_bytes = 2 if version == 1 else 4
    start = 8 + length_bytes
    n = int.from_bytes(prefix[8:start], "little")
    if n > limits.NPY_HEADER_BYTES:
        raise FormatError("HeaderTooLarge", where, f"the header of {printable(name)} claims {n:,} bytes.", _MEND)
    header = read(start + n)
    if len(header) < start + n:
        what = f"it ends within the header of {printable(name)}."
        raise FormatError("Truncated", where, what, "The file is incomplete. Download it again.")
    text = header[start:].decode("utf-8" if version == 3 else "latin-1")
    keys = sorted(_KEYS.findall(text))
    if len(set(keys)) != len(keys):
        raise FormatError("Duplicate", where, f"the header of {printable(name)} states something twice.", _MEND)
    shape, order = _SHAPE.search(text), _ORDER.search(text)
    if shape is None or order is None or keys != _EXPECTED_KEYS:
        raise FormatError("BadHeader", where, f"the header of {printable(name)} cannot be made sense of.", _MEND)
    checked = checked_shape(_sizes(shape[1]), where, name)
    dtype, raw, unsupported, warning = _described(text, where, name)
    return NpyHeader(checked, order[1] == "True", dtype, raw, start + n, unsupported, warning)


def _sizes(text: str) -> list[int] | None:
    """The sizes between a tuple's brackets; None where they are not those of a tuple."""
    if not _TUPLE.fullmatch(text):
        return None
    return [int(size.strip().rstrip("L")) for size in text.split(",") if size.strip()]


def _described(text: str, where: str, name: str) -> tuple[str, np.dtype[Any], str, str]:
    """The name of a type, how its bytes lie, why it is unsupported, and a warning."""
    found = _DESCR.search(text)
    if (found and found[2] == "O") or (not found and _OBJECT_FIELD.search(text)):
        what = f"the array {printable(name)} holds Python objects, which only running code could restore."
        raise FormatError("ObjectArray", where, what, "Save its numbers as an array of numbers.")
    if not found:
        return "structured", np.dtype("u1"), "its elements have several fields", ""
    order, kind, digits, _ = found.groups()
    size = int(digits or "1")
    if kind == "V" and size == 2:
        warning = (
            f"{printable(name)} holds nameless 2-byte values; they are read as bfloat16, which ml_dtypes writes so."
        )
        return "bfloat16", np.dtype("<u2"), "", warning
    code = "b1" if kind == "?" else f"{kind}{size}"
    if code not in _NAMES:
        itemsize = min(size * (4 if kind == "U" else 1), limits.NPY_HEADER_BYTES)
        return code, np.dtype(f"V{itemsize or 1}"), f"it holds {_KINDS.get(kind, 'values')} of type {code}", ""
    dtype = DTYPES[_NAMES[code]]
    return dtype.name, dtype.raw.newbyteorder(">" if order == ">" else "<"), "", ""
