"""Where the bits of a code lie in a block of GGUF: nibbles, fifth bits, pairs of bits, digits of base 3.

Source: `gguf/quants.py` of llama.cpp's `gguf` package.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qexplorer.quant.arrays import AnyArray

Bytes = NDArray[np.uint8]
LOW, HALF = np.uint8(15), np.uint8(4)
PLACES = np.array([0, 2, 4, 6], np.uint8)[:, None]
"""By how many bits each of four stretches of pairs is shifted."""


@dataclass(frozen=True)
class Part:
    """Where some of a code's bits lie: `pack` maps stored numbers `[G, N]` to `[G, size]` bytes, `unpack` back."""

    size: int
    pack: Callable[[Bytes], Bytes]
    unpack: Callable[[Bytes], Bytes]


def _pack_nibbles(stored: AnyArray) -> Bytes:
    low, high = np.split(stored & LOW, 2, axis=1)  # the first half of the block lies in the low nibbles
    return low | (high << HALF)


def _unpack_nibbles(packed: AnyArray) -> Bytes:
    return np.concatenate([packed & LOW, packed >> HALF], axis=1)


def _pack_fifth_bits(stored: AnyArray) -> Bytes:
    return np.packbits(stored >> HALF, axis=1, bitorder="little")


def _unpack_fifth_bits(packed: AnyArray) -> Bytes:
    return np.unpackbits(packed, axis=1, bitorder="little") << HALF


def _pack_pairs(stored: AnyArray) -> Bytes:
    """Two bits each: four stretches of 32 values share 32 bytes, the first stretch in the lowest bits."""
    return np.bitwise_or.reduce(stored.reshape(-1, 2, 4, 32) << PLACES, axis=2).reshape(len(stored), -1)


def _unpack_pairs(packed: AnyArray) -> Bytes:
    return ((packed.reshape(-1, 2, 1, 32) >> PLACES) & np.uint8(3)).reshape(len(packed), -1)


TRIT_RUNS = ((0, 0, 32, 5), (160, 32, 16, 5), (240, 48, 4, 4))
"""First value, first byte, how many bytes, and how many values each of these holds."""


def _pack_trits(stored: AnyArray) -> Bytes:
    """Five digits of base 3 are a fraction of 243, of which a byte keeps 256ths, rounded up. The first value is the
    highest digit; neighbours lie in neighbouring bytes.
    """
    packed: list[Bytes] = []
    for first, _, count, digits in TRIT_RUNS:
        values = stored[:, first : first + count * digits].reshape(-1, digits, count).astype(np.uint32)
        number = np.einsum("gdc,d->gc", values, np.array([81, 27, 9, 3, 1], np.uint32)[:digits])
        packed.append(((number * 256 + 242) // 243).astype(np.uint8))
    return np.concatenate(packed, axis=1)


def _unpack_trits(packed: AnyArray) -> Bytes:
    """A digit is the whole part of three times the fraction, once the digits before it are multiplied away."""
    stored: list[Bytes] = []
    for _, first, count, digits in TRIT_RUNS:
        powers = np.array([1, 3, 9, 27, 81], np.uint8)[:digits, None]
        fraction = packed[:, None, first : first + count] * powers  # modulo 256
        stored.append(((fraction.astype(np.uint16) * 3) >> 8).astype(np.uint8).reshape(len(packed), -1))
    return np.concatenate(stored, axis=1)


def _same(data: AnyArray) -> Bytes:
    return data


NIBBLES = Part(16, _pack_nibbles, _unpack_nibbles)
BYTES = Part(32, _same, _same)
FIFTH_BITS = Part(4, _pack_fifth_bits, _unpack_fifth_bits)
PAIRS = Part(64, _pack_pairs, _unpack_pairs)
TRITS = Part(52, _pack_trits, _unpack_trits)
