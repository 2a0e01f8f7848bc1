"""GGUF's tensor data: blocks of bytes, packed and unpacked as ggml lays them out.

Source: `gguf/quants.py` of llama.cpp's `gguf` package; it also decodes the types that only llama.cpp itself can write.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from qexplorer.errors import UserError
from qexplorer.quant.arrays import AnyArray, Codes, Floats
from qexplorer.quant.formats import formats
from qexplorer.quant.formats.gguf import GgufBlock
from qexplorer.quant.gguf_bits import BYTES, FIFTH_BITS, NIBBLES, PAIRS, TRITS, Bytes, Part
from qexplorer.quant.minifloat import E2M1
from qexplorer.quant.params import QuantParams

BF16, MXFP4 = "BF16", "MXFP4"
READ_ONLY = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS",
             "IQ3_S", "IQ4_NL", "IQ4_XS", "NVFP4")  # fmt: skip
"""The types that can be decoded only."""


@dataclass(frozen=True)
class Layout:
    """The parts of a block in order. A stored number is the code and `bias`; scales come first or last."""

    parts: tuple[Part, ...]
    bias: int = 0
    scales_last: bool = False


LAYOUTS = {
    "Q4_0": Layout((NIBBLES,), bias=8),
    "Q4_1": Layout((NIBBLES,)),
    "Q5_0": Layout((FIFTH_BITS, NIBBLES), bias=16),
    "Q5_1": Layout((FIFTH_BITS, NIBBLES)),
    "Q8_0": Layout((BYTES,)),
    "TQ1_0": Layout((TRITS,), bias=1, scales_last=True),
    "TQ2_0": Layout((PAIRS,), bias=1, scales_last=True),
    MXFP4: Layout((NIBBLES,)),
}
WRITABLE = (*LAYOUTS, BF16)
"""The types that can be packed."""


def block_of(type_name: str) -> tuple[int, int]:
    """How many values a block of this type has, and how many bytes. `UserError` for a type that cannot be read."""
    if type_name == BF16:
        return 1, 2
    if type_name == MXFP4:
        return 32, 17
    if type_name in LAYOUTS:
        form = _format(type_name)
        return form.size, form.block_bytes
    if type_name in READ_ONLY:
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        size, length = GGML_QUANT_SIZES[GGMLQuantizationType[type_name]]
        return int(size), int(length)
    raise UserError(f"There is no GGUF type “{type_name}” that can be read.",
                    f"Known: {', '.join((*WRITABLE, *READ_ONLY))}.")  # fmt: skip


def pack(codes: Codes, params: QuantParams, type_name: str) -> Bytes:
    """The bytes of blocks: codes `[G, N]` as the format of that name has them → `[G, bytes]`.

    N is the size of a block; for BF16 it is any. Raises `UserError` where it is not, or the type cannot be written.
    A zero of MXFP4 has no sign, as ggml writes it.
    """
    size, _ = block_of(type_name)
    if type_name in READ_ONLY:
        raise UserError(f"GGUF type {type_name} can be read but not written.", f"Take {' or '.join(WRITABLE)}.")
    if type_name == BF16:
        return np.ascontiguousarray(codes, "<u2").view(np.uint8)
    if codes.shape[1] != size:
        raise UserError(f"{type_name} has blocks of {size} values, not of {codes.shape[1]}.",
                        f"Divide the values into blocks of {size}.", field="granularity")  # fmt: skip
    if type_name == MXFP4:
        codes = np.where(codes == 8, 0, codes)
    layout = LAYOUTS[type_name]
    stored = (codes + layout.bias).astype(np.uint8)
    scales, parts = _pack_scales(params, type_name), [part.pack(stored) for part in layout.parts]
    return np.concatenate([*parts, scales] if layout.scales_last else [scales, *parts], axis=1)


def unpack(blocks: Bytes, type_name: str) -> tuple[Codes, QuantParams]:
    """Codes `[G, N]` and parameters of blocks `[G, bytes]`: `pack` undone. Raises `UserError` as `pack` does."""
    _, length = block_of(type_name)
    if type_name in READ_ONLY:
        raise UserError(f"The codes of GGUF type {type_name} cannot be shown.", "Decode its values.")
    if blocks.shape[1] % length or (type_name != BF16 and blocks.shape[1] != length):
        raise UserError(f"A block of {type_name} has {length} bytes, not {blocks.shape[1]}.",
                        f"Divide the data into rows of {length} bytes.")  # fmt: skip
    if type_name == BF16:
        codes = np.ascontiguousarray(blocks).view("<u2").astype(np.int32)
        one, zero = np.ones(len(codes), np.float32), np.zeros(len(codes), np.int32)
        return codes, QuantParams(one, zero, 0, 65535)
    layout = LAYOUTS[type_name]
    start = 0 if layout.scales_last else length - sum(part.size for part in layout.parts)
    stored = np.zeros((len(blocks), block_of(type_name)[0]), np.uint8)
    for part in layout.parts:
        stored |= part.unpack(np.ascontiguousarray(blocks[:, start : start + part.size]))
        start += part.size
    codes = (stored.view(np.int8) if type_name == "Q8_0" else stored).astype(np.int32) - layout.bias
    return codes, _unpack_scales(blocks, type_name)


def decode(data: AnyArray, type_name: str, shape: tuple[int, ...]) -> Floats:
    """The values of a tensor of this shape, the last axis as long as a row in the file: bytes → float32.

    Raises `UserError` for an unknown type, rows that are no whole blocks, or another number of bytes than they need.
    """
    size, length = block_of(type_name)
    row = shape[-1] if shape else 1
    if row % size:
        raise UserError(f"A row of {row} values is not a multiple of {type_name}'s block of {size}.",
                        "The file is damaged; get it again.")  # fmt: skip
    given, needed = data.nbytes, math.prod(shape) // size * length
    if given != needed:
        raise UserError(f"{given} bytes are not the {needed} that {type_name} needs for {math.prod(shape)} values.",
                        "The file is damaged; get it again.")  # fmt: skip
    if not needed:
        return np.zeros(shape, np.float32)
    blocks: Bytes = np.ascontiguousarray(data).view(np.uint8).reshape(-1, length)
    if type_name in READ_ONLY:
        return _decoded_by_gguf(blocks.reshape(-1, row // size * length), type_name).reshape(shape)
    if type_name == BF16:
        return (blocks.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    codes, params = unpack(blocks, type_name)
    if type_name == MXFP4:
        return _mxfp4_values(codes, blocks[:, :1]).reshape(shape)
    return _format(type_name).dequantize(codes, params).reshape(shape)


def _pack_scales(params: QuantParams, type_name: str) -> Bytes:
    if type_name == MXFP4:
        exponents = np.frexp(params.scale.astype(np.float64))[1] + 126
        return np.where(np.isinf(params.scale), 255, exponents).astype(np.uint8)[:, None]
    fields = [params.scale] if params.offset is None else [params.scale, params.offset]
    with np.errstate(over="ignore"):
        return np.stack(fields, axis=1).astype("<f2").view(np.uint8)


def _unpack_scales(blocks: Bytes, type_name: str) -> QuantParams:
    if type_name == MXFP4:
        with np.errstate(over="ignore"):  # 2¹²⁸ is beyond float32
            scale = np.ldexp(1.0, blocks[:, 0].astype(np.int32) - 127).astype(np.float32)
        return QuantParams(scale, np.zeros(len(scale), np.int32), 0, 15)
    form = _format(type_name)
    length = form.group_bits // 8
    raw = blocks[:, -length:] if LAYOUTS[type_name].scales_last else blocks[:, :length]
    fields: Floats = np.ascontiguousarray(raw).view("<f2").astype(np.float32)
    return form.params(fields[:, 0], fields[:, 1] if length > 2 else None)


def _mxfp4_values(codes: Codes, exponents: Bytes) -> Floats:
    """Element times power of two, in float64: 2¹²⁸ itself is beyond float32, but half of it is not."""
    with np.errstate(over="ignore"):
        values = np.ldexp(E2M1.decode(codes), exponents.astype(np.int32) - 127).astype(np.float32)
    return values + np.float32(0)  # ggml's zero has no sign


def _format(type_name: str) -> GgufBlock:
    form = formats[type_name.lower()]
    assert isinstance(form, GgufBlock)  # noqa: S101  every layout but MXFP4's is of such a format
    return form


def _decoded_by_gguf(rows: Bytes, type_name: str) -> Floats:
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize

    with np.errstate(all="ignore"):  # scales in a file may be any float16
        values: Any = dequantize(rows, GGMLQuantizationType[type_name])
    return values
