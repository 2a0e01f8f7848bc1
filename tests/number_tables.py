"""Tables of numbers as others printed them."""

import ml_dtypes
import numpy as np
import pytest

from qexplorer.quant.formats import formats


def half_digit(printed, decimals):
    """Within half of the last digit that is printed."""
    return pytest.approx(printed, rel=0, abs=0.5000001 * 10.0**-decimals)


def levels_of(dtype):
    """All finite values of an ml_dtypes or NumPy type."""
    width = np.dtype(dtype).itemsize
    count = 2 ** ml_dtypes.finfo(dtype).bits
    values = np.arange(count).astype(f"u{width}").view(dtype)
    with np.errstate(invalid="ignore"):
        values = values.astype(np.float64)
    return np.unique(values[np.isfinite(values)])


FLOATS = {
    "e2m1": ml_dtypes.float4_e2m1fn,
    "e2m3": ml_dtypes.float6_e2m3fn,
    "e3m2": ml_dtypes.float6_e3m2fn,
    "e4m3": ml_dtypes.float8_e4m3fn,
    "e5m2": ml_dtypes.float8_e5m2,
}


def table(name):
    """The levels of a format: from its publisher's list where it has one."""
    if name.startswith("int"):
        last = 2 ** (int(name[3:]) - 1) - 1
        return tuple(float(k) for k in range(-last, last + 1))
    if name in FLOATS:
        return tuple(levels_of(FLOATS[name]).tolist())
    if name == "iq4_nl":
        from gguf.quants import IQ4_NL

        return tuple(float(k) for k in IQ4_NL.kvalues)
    return tuple(float(k) for k in formats[name].levels)
