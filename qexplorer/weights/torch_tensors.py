"""The calls by which PyTorch's pickles rebuild tensors, understood without making them.

Source of their arguments: `torch/_utils.py` and `torch/_tensor.py` of PyTorch 2.13.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qexplorer.text import printable
from qexplorer.weights import limits
from qexplorer.weights.checkpoint import FormatError, TensorInfo
from qexplorer.weights.dtypes import DTYPES
from qexplorer.weights.file_checkpoint import unsupported
from qexplorer.weights.narrow import is_count, is_sequence, is_tuple
from qexplorer.weights.pickle_values import Call, Named, Persistent
from qexplorer.weights.shapes import checked_shape
from qexplorer.weights.strided import Strided
from qexplorer.weights.zip_archive import STORED, ZipEntry

_MEND = "The file is damaged or was altered. Nothing was loaded."
_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "CharStorage": "int8", "ShortStorage": "int16", "IntStorage": "int32", "LongStorage": "int64",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8", "_UntypedStorage": "uint8",
    "QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32",
}  # fmt: skip
_STRIDED = {"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"}
_UNSUPPORTED = {
    "_rebuild_sparse_tensor": "it is sparse, which cannot be shown yet",
    "_rebuild_qtensor": "it is already quantized by PyTorch, which cannot be shown yet",
    "_rebuild_nested_tensor": "it is a nested tensor, which cannot be shown yet",
    "_rebuild_meta_tensor_no_storage": "it was saved without values (on the meta device)",
    "_rebuild_device_tensor_from_numpy": "it was saved by way of NumPy, which cannot be shown yet",
}
_PARAMETERS = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
_SUBCLASS = "torch._tensor._rebuild_from_type_v2"
_HARMLESS = (
    {f"torch._utils.{name}" for name in (*_STRIDED, *_UNSUPPORTED, "_rebuild_wrapper_subclass")}
    | _PARAMETERS
    | {f"torch.{name}" for name in (*_STORAGES, *DTYPES, "Size", "device", "strided", "per_tensor_affine")}
    | {f"torch.storage.{name}" for name in _STORAGES}
    | {"torch.per_channel_affine", "torch.serialization._get_layout", "torch.nn.parameter.Parameter", _SUBCLASS}
    | {"collections.OrderedDict", "collections.defaultdict", "_codecs.encode"}
    | {f"{builtin}.{name}" for builtin in ("builtins", "__builtin__") for name in ("set", "frozenset", "dict")}
)


def is_code(name: str) -> bool:
    """Whether a reference is more than what every PyTorch file is made of. A TorchScript's own classes are not."""
    return name not in _HARMLESS and not name.startswith(("__torch__.", "torch.jit._pickle."))


def is_tensor(call: Call) -> bool:
    """Whether the call rebuilds a tensor."""
    return _rebuilder(call.function) != ""


def unwrap(call: Call) -> tuple[Any, ...] | None:
    """The tensor in a parameter or in a subclass that keeps its numbers as tensors do; see `pickle_walk.Unwrap`."""
    name = call.function.full_name if isinstance(call.function, Named) else ""
    arguments = call.arguments if is_tuple(call.arguments) else ()
    if name in _PARAMETERS and arguments:
        return (arguments[0],)
    if name == _SUBCLASS and len(arguments) == 4:
        function, _, inner, state = arguments
        return (Call(function, inner),) if _rebuilder(function) else (inner, state)
    return None


def _rebuilder(function: Any) -> str:
    if isinstance(function, Named) and function.module == "torch._utils":
        return function.name if function.name in _STRIDED or function.name in _UNSUPPORTED else ""
    return ""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor's place in the record that holds its storage."""

    entry: ZipEntry
    placed: Strided


@dataclass
class TensorRebuilder:
    """Describes the tensors of one archive; two that are the same part of one record are tied."""

    path: Path
    where: str
    records: Mapping[str, ZipEntry]
    is_big_endian: bool
    _first: dict[tuple[object, ...], str] = field(default_factory=dict[tuple[object, ...], str])

    def describe(self, name: str, call: Call, folder: str) -> TensorInfo:
        """The tensor that a call would rebuild from the records in `folder`. Raises `FormatError`."""
        rebuilder = _rebuilder(call.function)
        arguments = call.arguments
        if not is_tuple(arguments):
            raise self._bad("BadPickle", name, "is not described as PyTorch does")
        if rebuilder in _UNSUPPORTED:
            dtype, shape = self._outline(rebuilder, arguments, name)
            return unsupported("Unsupported", name, shape, dtype, 0, self.path, _UNSUPPORTED[rebuilder])
        if len(arguments) < 4:
            raise self._bad("BadPickle", name, "is not described as PyTorch does")
        storage, offset, size, stride = arguments[:4]
        dtype, key, count = self._storage(storage, name)
        bytes_stored = count * (DTYPES[dtype].raw.itemsize if dtype in DTYPES else 1)
        if rebuilder == "_rebuild_tensor_v3":
            dtype = arguments[6].name if len(arguments) > 6 and isinstance(arguments[6], Named) else "unknown"
        shape = self._shape(size, name)
        strides = self._strides(stride, shape, name)
        if not is_count(offset):
            raise self._bad("OutOfBounds", name, "begins before its record")
        record = self._record(f"{folder}/{key}", name, bytes_stored)
        if dtype not in DTYPES:
            why = f"its type “{printable(dtype, 40)}” is not known"
            return unsupported("Unsupported", name, shape, dtype, 0, self.path, why)
        return self._tensor(name, shape, dtype, record, offset, strides, bytes_stored)

    def _tensor(
        self, name: str, shape: tuple[int, ...], dtype: str, record: ZipEntry, offset: int, strides: tuple[int, ...],
        bytes_stored: int,
    ) -> TensorInfo:  # fmt: skip
        raw = DTYPES[dtype].raw.newbyteorder(">" if self.is_big_endian else "<")
        placed = Strided(record.offset + offset * raw.itemsize, raw, shape, strides)
        if placed.span and (offset + placed.span) * raw.itemsize > bytes_stored:
            need = (offset + placed.span) * raw.itemsize
            what = f"needs {need:,} bytes of a record that holds {bytes_stored:,}"
            raise self._bad("OutOfBounds", name, what)
        tied_to = self._first.setdefault((record.name, offset, shape, strides, dtype), name)
        nbytes = placed.span * raw.itemsize
        if placed.is_expanded:
            why = "it repeats a few stored values many times (an expanded view), which is not unrolled"
            return unsupported("ExpandedTensor", name, shape, dtype, nbytes, self.path, why)
        nbytes = raw.itemsize * math.prod(shape)
        if record.method != STORED:
            why = "its record is compressed, which PyTorch never does; save it again with PyTorch"
            return unsupported("Compressed", name, shape, dtype, nbytes, self.path, why)
        tied = tied_to if tied_to != name else ""
        storage = StoredTensor(record, placed)
        return TensorInfo(name, shape, dtype, nbytes, self.path, tied_to=tied, storage=storage)

    def _storage(self, storage: Any, name: str) -> tuple[str, str, int]:
        """The type, the record's key and the number of elements that a reference to a storage states."""
        key = storage.key if isinstance(storage, Persistent) else None
        if not (is_tuple(key) and len(key) >= 5 and isinstance(key[1], Named)):
            raise self._bad("BadPickle", name, "does not say where its numbers are")
        named, record, count = key[1], key[2], key[4]
        if not (isinstance(record, str) and is_count(count)) or count >= limits.DIMENSION:
            raise self._bad("BadPickle", name, "does not say where its numbers are")
        return _STORAGES.get(named.name, named.full_name), record, count

    def _record(self, path: str, name: str, needed: int) -> ZipEntry:
        record = self.records.get(path)
        if record is None:
            raise self._bad("MissingRecord", name, f"needs the record “{printable(path, 120)}”, which is not there")
        if record.size < needed:
            what = f"the record “{printable(path, 120)}” holds {record.size:,} bytes"
            what += f" but the tensor {printable(name)} needs {needed:,}."
            raise FormatError("Truncated", self.where, what, _MEND)
        return record

    def _shape(self, size: Any, name: str) -> tuple[int, ...]:
        if isinstance(size, Call) and is_tuple(size.arguments) and len(size.arguments) == 1:
            size = size.arguments[0]
        return checked_shape(size, self.where, name)

    def _strides(self, stride: Any, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
        if not is_sequence(stride) or len(stride) != len(shape):
            raise self._bad("BadStride", name, "has strides that do not fit its shape")
        strides: list[Any] = list(stride)
        if not all(is_count(n) and n < limits.DIMENSION for n in strides):
            raise self._bad("BadStride", name, "has a stride that is negative or no number")
        return tuple(strides)

    def _outline(self, rebuilder: str, arguments: tuple[Any, ...], name: str) -> tuple[str, tuple[int, ...]]:
        """What can be said of a tensor that cannot be read: its type and shape, where they are stated plainly."""
        dtype, size = "unknown", None
        if rebuilder == "_rebuild_qtensor" and len(arguments) > 2:
            dtype, size = self._storage(arguments[0], name)[0], arguments[2]
        elif rebuilder == "_rebuild_meta_tensor_no_storage" and len(arguments) > 1:
            dtype, size = getattr(arguments[0], "name", dtype), arguments[1]
        elif rebuilder == "_rebuild_sparse_tensor" and len(arguments) > 1 and is_tuple(arguments[1]):
            parts = arguments[1]
            size = next((part for part in parts if _is_size(part)), None)
            values = next((part for part in parts[1::-1] if isinstance(part, Call) and is_tensor(part)), None)
            if len(parts) >= 4 and isinstance(parts[2], Call) and is_tensor(parts[2]):
                values = parts[2]
            if values is not None and is_tuple(values.arguments) and values.arguments:
                dtype = self._storage(values.arguments[0], name)[0]
        return dtype, self._shape(size, name) if size is not None else ()

    def _bad(self, kind: str, name: str, what: str) -> FormatError:
        return FormatError(kind, self.where, f"the tensor {printable(name)} {what}.", _MEND)


def _is_size(value: Any) -> bool:
    return isinstance(value, Call) and isinstance(value.function, Named) and value.function.name == "Size"
