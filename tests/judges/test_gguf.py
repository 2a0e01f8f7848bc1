"""GGUF against llama.cpp's `gguf` package: the bytes of all types that it writes, the values of all that it reads.

The limits on ggml's own test signal are those of its `tests/test-quantize-fns.cpp`.
"""

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.quant.gguf_blocks import READ_ONLY, WRITABLE, block_of, decode, pack, unpack
from qexplorer.quant.params import QuantParams
from qexplorer.quant.quantize import quantize

JUDGE = "gguf"
ROWS = 64
LENGTH = 256 * 16
LEAST, MOST = 2.0**-100, 2.0**15
"""Magnitudes for which the judge is defined in every type."""


def spec_of(name: str) -> QuantSpec:
    """ggml's MXFP4 takes the smaller magnitude at a tie, as its search for the least error finds that first."""
    return QuantSpec.from_json({"format": name.lower(), **({"rounding": "half_zero"} if name == "MXFP4" else {})})


def ours(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bytes `[rows, bytes of a row]` and the values of a matrix."""
    codes, values, params = quantize(x, spec_of(name))
    packed = pack(codes.reshape(-1, block_of(name)[0]), params, name)
    return packed.reshape(len(x), -1), values


def theirs(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    packed = quants.quantize(x, GGMLQuantizationType[name])
    return packed, quants.dequantize(packed, GGMLQuantizationType[name])


def data(kind: str, rng: np.random.Generator) -> np.ndarray:
    shape = (ROWS, LENGTH)
    match kind:
        case "normal":
            x = rng.normal(size=shape)
        case "laplace":
            x = rng.laplace(size=shape)
        case "uniform":
            x = rng.uniform(-1, 3, shape)
        case "zeros of both signs":
            x = np.where(np.arange(ROWS)[:, None] % 3 == 0, 0.0, np.where(rng.random(shape) < 0.5, 0.0, -0.0))
        case "one outlier":
            x = np.where(np.arange(LENGTH) % 32 == rng.integers(0, 32, (ROWS, LENGTH // 32)).repeat(32, axis=1),
                         rng.normal(scale=1000, size=shape), rng.normal(scale=0.1, size=shape))  # fmt: skip
        case "ties of magnitude":
            x = rng.integers(-4, 5, shape) * np.exp2(rng.integers(-3, 3, (ROWS, 1)))
        case "equal values":
            x = rng.normal(size=(ROWS, LENGTH // 256)).repeat(256, axis=1)
        case "steps below float16":
            x = rng.normal(size=shape) * np.exp2(rng.integers(-40, -8, (ROWS, LENGTH // 256))).repeat(256, axis=1)
        case "all sizes":
            x = np.clip(rng.normal(size=shape) * np.exp2(rng.integers(-90, 14, (ROWS, 1))), -60000, 60000)
    return x.astype(np.float32)


def assert_same_bits(a: np.ndarray, b: np.ndarray) -> None:
    """To the bit, where any NaN is like any other."""
    assert a.dtype == b.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    np.testing.assert_array_equal(
        np.where(np.isnan(a), 0, a).view(np.uint32), np.where(np.isnan(b), 0, b).view(np.uint32)
    )


KINDS = ("normal", "laplace", "uniform", "zeros of both signs", "one outlier", "ties of magnitude", "equal values",
         "steps below float16", "all sizes")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WRITABLE)
def test_bytes_and_values_are_ggufs(name, kind, rng, verdict):
    x = data(kind, rng)
    packed, values = ours(name, x)
    their_bytes, their_values = theirs(name, x)
    np.testing.assert_array_equal(packed, their_bytes)
    assert_same_bits(decode(packed, name, x.shape), their_values)
    np.testing.assert_array_equal(values, their_values)
    verdict.checked(x.size, formats=(name.lower(),))


def defined(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < LEAST, np.float32(0), x)


def exponent_is_right(x: np.ndarray) -> bool:
    """Whether the judge's rounded logarithm has the exponent of each block's extreme."""
    reach = np.abs(x.reshape(-1, 32)).max(axis=1)
    reach = reach[reach > 0]
    return bool((np.floor(np.log2(reach)) == np.frexp(reach)[1] - 1).all())


@pytest.mark.parametrize("name", WRITABLE)
@given(x=hnp.arrays(np.float32, (2, 256), elements=st.floats(-MOST, MOST, width=32), fill=st.just(0.0)).map(defined))
def test_any_block_has_ggufs_bytes(name, x):
    if name == "MXFP4" and not exponent_is_right(x):
        return
    np.testing.assert_array_equal(ours(name, x)[0], theirs(name, x)[0])


@pytest.mark.parametrize("name", [*WRITABLE, *READ_ONLY])
def test_any_bytes_are_decoded_as_gguf_does(name, rng, verdict):
    size, length = block_of(name)
    raw = rng.integers(0, 256, (6, max(2048 // size, 4) * length), dtype=np.uint8)
    shape = (2, 3, raw.shape[1] // length * size)
    with np.errstate(all="ignore"):
        expected = quants.dequantize(raw, GGMLQuantizationType[name])
    values = decode(raw.ravel(), name, shape)
    assert values.shape == shape
    assert_same_bits(values.reshape(expected.shape), expected)
    verdict.checked(values.size, formats=(name.lower(),) if name in WRITABLE else ())


def test_every_type_that_gguf_knows_can_be_read():
    known = {kind.name for kind in GGMLQuantizationType if kind in quants._type_traits}
    assert known == {*WRITABLE, *READ_ONLY}
    assert len(known) == 24


def test_every_type_that_gguf_can_write_can_be_written():
    for name in READ_ONLY:
        with pytest.raises(NotImplementedError):
            quants.quantize(np.ones((1, 256), np.float32), GGMLQuantizationType[name])
    for name in WRITABLE:
        assert quants.quantize(np.ones((1, 256), np.float32), GGMLQuantizationType[name]).size


@pytest.mark.parametrize(("name", "limit"), [(n, 0.01 if n.startswith("TQ") else 0.002) for n in WRITABLE])
def test_the_error_on_ggmls_own_signal_is_below_its_limit(name, limit, verdict):
    signal = (0.1 + 2 * np.cos(np.arange(4096, dtype=np.float32))).astype(np.float32)[None]
    error = ours(name, signal)[1].astype(np.float64) - signal
    assert 0 < np.sqrt((error**2).sum()) / 4096 < limit
    verdict.checked(formats=(name.lower(),))


CODES = {"Q4_0": (-8, 7), "Q4_1": (0, 15), "Q5_0": (-16, 15), "Q5_1": (0, 31), "Q8_0": (-128, 127), "TQ1_0": (-1, 1),
         "TQ2_0": (-1, 2), "MXFP4": (0, 15), "BF16": (0, 65535)}  # fmt: skip


@st.composite
def blocks(draw, name):
    """Codes of every kind and parameters that can be stored."""
    least, most = CODES[name]
    groups, size = draw(st.integers(1, 3)), block_of(name)[0]
    code = st.integers(least, most).map(lambda q: 0 if name == "MXFP4" and q == 8 else q)
    codes = draw(hnp.arrays(np.int32, (groups, size), elements=code))
    if name == "MXFP4":
        scale = np.exp2(draw(hnp.arrays(np.float64, groups, elements=st.integers(-127, 127)))).astype(np.float32)
    else:
        scale = draw(hnp.arrays(np.float16, groups, elements=st.floats(width=16, allow_nan=False))).astype(np.float32)
    if name == "BF16":
        scale = np.ones(groups, np.float32)
    offset = draw(hnp.arrays(np.float16, groups, elements=st.floats(width=16, allow_nan=False))).astype(np.float32)
    return codes, QuantParams(scale, np.zeros(groups, np.int32), least, most,
                              offset=offset if name.endswith("_1") else None)  # fmt: skip


@pytest.mark.parametrize("name", WRITABLE)
@given(st.data())
def test_unpacking_gives_back_what_was_packed(name, data):
    codes, params = data.draw(blocks(name))
    packed = pack(codes, params, name)
    assert packed.shape == (len(codes), block_of(name)[1])
    again, stored = unpack(packed, name)
    np.testing.assert_array_equal(again, codes)
    np.testing.assert_array_equal(stored.scale, params.scale)
    assert (stored.offset is None) == (params.offset is None)
    if params.offset is not None:
        np.testing.assert_array_equal(stored.offset, params.offset)
    np.testing.assert_array_equal(pack(again, stored, name), packed)


@pytest.mark.parametrize("k", [-60, -3, 0, 9, 60, 100])
def test_just_below_a_power_of_two_mxfp4_has_the_exponent_of_the_extreme(k, verdict):
    x = np.full((1, 32), 2.0**k, np.float32)
    x[0, 0] = np.nextafter(np.float32(2.0 ** (k + 1)), np.float32(0))
    params = quantize(x, spec_of("MXFP4"))[2]
    assert params.scale.tolist() == [2.0 ** (k - 2)]  # OCP MX v1.0: 2^floor(log2 of the extreme), over E2M1's 2²
    verdict.not_applicable("MXFP4, the extreme just below a power of two",
                           "gguf rounds the logarithm up there; here the exponent is that of the number")  # fmt: skip
    verdict.checked()


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0"])
def test_where_gguf_is_undefined_values_stay_finite(name, verdict):
    tiny = np.float32(2.0**-140)
    x = np.zeros((2, 256), np.float32)
    x[0, ::2], x[0, 1::2] = tiny, -tiny
    x[1] = np.linspace(-1, 1, 256)
    x[1, 5], x[1, 40], x[1, 100] = np.nan, np.inf, -np.inf
    values = decode(ours(name, x)[0], name, x.shape)
    assert np.isfinite(values).all()
    assert not values[0].any()
    finite = np.isfinite(x[1])
    without = np.where(finite, x[1:], np.roll(x[1:], 1))  # the neighbour's value is no new extreme
    np.testing.assert_array_equal(values[1, finite], theirs(name, without)[1][0, finite])
    verdict.not_applicable(f"{name}, steps whose reciprocal overflows", "gguf converts infinity and NaN to integers")
    verdict.not_applicable(f"{name}, NaN or infinity in a block", "gguf spoils the block; here they are left out")
    verdict.checked(x.size, formats=(name.lower(),))


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0"])
def test_a_step_that_float16_cannot_hold_is_infinite_as_in_the_file(name, rng, verdict):
    x = (rng.choice([-1, 1], (2, 256)) * rng.uniform(0.9, 1, (2, 256)) * [[1e7], [1]]).astype(np.float32)
    with np.errstate(all="ignore"):
        packed, decoded = theirs(name, x)
    np.testing.assert_array_equal(ours(name, x)[0], packed)
    values = quantize(x, spec_of(name))[1]
    np.testing.assert_array_equal(values, decoded)
    assert not np.isfinite(values[0]).any()
    a = finish(analyze(x, spec_of(name)))
    assert (a.metrics.mse, a.metrics.sqnr_db, a.metrics.max_abs_error) == (np.inf, -np.inf, np.inf)
    assert np.isfinite([a.lo, a.hi, *a.error_bins.edges]).all()
    verdict.checked(x.size, formats=(name.lower(),))


def test_bf16_keeps_infinity_and_gives_nan_the_code_of_zero(verdict):
    x = np.array([[np.inf, -np.inf, 3.4e38, np.nan]], np.float32)
    codes = quantize(x, spec_of("BF16"))[0]
    np.testing.assert_array_equal(codes[0, :3], theirs("BF16", x)[0].view("<u2")[0, :3])
    assert codes[0, 3] == 0
    verdict.not_applicable("BF16, NaN", "gguf keeps it; here NaN is counted and left out")
    verdict.checked(3, formats=("bf16",))
