"""Theory: normal and Laplace sources, judged by SciPy's quadrature, by published tables and by ml_dtypes' casts.

Rows without a name beside them are exact integrals worked out apart from this program. Max 1960 is Table I and II of
“Quantizing for minimum distortion”, Jayant and Noll is “Digital coding of waveforms”, 1984; the means of bitsandbytes
are those that its tests/test_functional.py expects of 200 runs.
"""

import math

import ml_dtypes
import numpy as np
import pytest
from closed_forms import block_absmax
from number_tables import FLOATS, half_digit, table
from scipy import stats

BITSANDBYTES = {  # mean absolute error in blocks of 32, 64 … 4096: exact, and as bitsandbytes measured it
    "nf4": ((0.067748, 0.072796, 0.076835, 0.080329, 0.083540, 0.086605, 0.089592, 0.092529),
            (0.067746, 0.072798, 0.076831, 0.080337, 0.083547, 0.086610, 0.089592, 0.092547)),
    "fp4_bnb": ((0.088920, 0.096546, 0.102948, 0.108688, 0.114089, 0.119321, 0.124468, 0.129564),
                (0.088925, 0.096543, 0.102969, 0.108684, 0.114115, 0.119333, 0.124556, 0.129536)),
}  # fmt: skip


@pytest.mark.parametrize("name", BITSANDBYTES)
def test_blocks_have_the_mean_error_that_bitsandbytes_measured(name):
    for i, (exact, measured) in enumerate(zip(*BITSANDBYTES[name], strict=True)):
        ours = block_absmax(table(name), 32 << i).mae
        assert ours == half_digit(exact, 6)
        assert ours == pytest.approx(measured, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "block", "mse", "decimals"),
    [
        ("int4", 32, 0.00940973, 8),
        ("int4", 64, 0.01157757, 8),
        ("int4", 128, 0.01375188, 8),
        ("int8", 32, 2.858e-5, 8),
        ("int8", 64, 3.516e-5, 8),
        ("int8", 128, 4.177e-5, 8),
        ("e2m1", 16, 0.00886312, 8),
        ("e2m1", 32, 0.01022045, 8),
    ],
)
def test_blocks_have_the_error_of_the_table(name, block, mse, decimals):
    assert block_absmax(table(name), block).mse == half_digit(mse, decimals)


MX_INT8 = tuple(k / 64 for k in range(-128, 128))


MX = [  # elements, scale, mean squared error by a quadrature that is good for four digits
    ("e2m1", "floor", 0.01321865),
    ("e2m1", "rceil", 0.01331315),
    ("e2m3", "floor", 0.00080525),
    ("e3m2", "floor", 0.00291075),
    ("e4m3", "floor", 0.00086203),
    ("e4m3", "rceil", 0.00070454),
    ("e5m2", "floor", 0.00291067),
    ("mx_int8", "floor", 6.814e-5),
]


@pytest.mark.parametrize(("name", "power", "mse"), MX)
def test_blocks_of_mx_have_the_error_of_the_table(name, power, mse):
    levels = MX_INT8 if name == "mx_int8" else table(name)
    assert block_absmax(levels, 32, power).mse == pytest.approx(mse, rel=1e-4)


def mx_by_casts(cast, largest, power, block):
    """The error of one value x, its scale s by what the other n − 1 are: with P(M < t)^(n−1) none of them exceeds t."""
    octaves = np.exp2(np.arange(-24, 4))[:, None]
    places = (
        np.arange(1024)[:, None] + 0.5 + np.array([-1, 1]) / math.sqrt(12)
    )  # Gauss: two points are exact for cubics
    x = (octaves * (1 + places.ravel() / 1024)).ravel()  # levels, halves and jumps of scales lie between the cells
    weight = 2 * stats.norm.pdf(x) * np.repeat(octaves / 2048, 2048, axis=1).ravel()
    squared = absolute = 0.0
    for e in range(-42, 6):
        scale = 2.0**e
        if power == "floor":
            low = 2.0 ** (e + math.floor(math.log2(largest)))
            high = 2 * low
        else:
            low, high = largest * scale / 2, largest * scale
        below = np.where(x < low, math.erf(low / math.sqrt(2)) ** (block - 1), 0.0)
        chance = np.where(x < high, math.erf(high / math.sqrt(2)) ** (block - 1) - below, 0.0)
        with np.errstate(over="ignore"):
            error = cast(np.minimum(x / scale, largest)).astype(np.float64) * scale - x
        squared += (weight * chance * error**2).sum()
        absolute += (weight * chance * np.abs(error)).sum()
    return squared, absolute


CASTS = {
    **{name: (lambda x, d=d: x.astype(d), float(ml_dtypes.finfo(d).max)) for name, d in FLOATS.items()},
    "int8": (np.rint, 127.0),
}


@pytest.mark.parametrize("block", [1, 2, 32, 256])
@pytest.mark.parametrize("power", ["floor", "rceil"])
@pytest.mark.parametrize("name", CASTS)
def test_blocks_of_mx_have_the_error_of_casts_under_every_scale(name, power, block):
    ours = block_absmax(table(name), block, power)
    assert (ours.mse, ours.mae) == pytest.approx(mx_by_casts(*CASTS[name], power, block), rel=1e-9)


def test_a_block_of_one_errs_only_where_its_sign_has_no_level_of_its_own():
    """Of values ±m, on the level 1, those of the other sign fall on −1/2: half of them err by m/2."""
    for levels in ((-0.5, 1.0), (0.5, -1.0)):
        ours = block_absmax(levels, 1)
        assert (ours.mse, ours.mae) == pytest.approx((1 / 8, math.sqrt(2 / math.pi) / 4), rel=1e-12)
    assert block_absmax(table("nf4"), 1).mse == pytest.approx(0, abs=1e-30)


def test_a_block_of_two_errs_as_its_lesser_value():
    """On levels ±1 alone the lesser, a, becomes the greater, b: E(b − a)² = 2 − 2·E|x|² and E(b − a) = E||x| − |y||."""
    ours = block_absmax((-1.0, 1.0), 2)
    assert ours.mse == pytest.approx((2 - 4 / math.pi) / 2, rel=1e-12)
    assert ours.mae == pytest.approx((2 - math.sqrt(2)) * math.sqrt(2 / math.pi) * math.sqrt(2) / 2, rel=1e-12)


@pytest.mark.parametrize("power", ["", "floor", "rceil"])
@pytest.mark.parametrize("levels", [tuple(range(-8, 8)), table("nf4"), table("iq4_nl")], ids=["int4", "nf4", "iq4_nl"])
def test_uneven_tables_err_as_samples_do_whatever_the_sign_of_the_largest(levels, power, rng):
    x = rng.normal(size=(20_000, 32))
    m = np.abs(x).max(axis=1, keepdims=True)
    ascending = np.sort(np.array(levels, np.float64))
    top = ascending[-1]
    match power:
        case "floor":
            scale = 2 ** (np.floor(np.log2(m)) - math.floor(math.log2(top)))
        case "rceil":
            scale = 2 ** np.ceil(np.log2(m / top))
        case _:
            scale = m / np.abs(ascending).max()
    near = np.abs((x / scale)[..., None] - ascending).min(axis=-1) * scale
    ours = block_absmax(tuple(float(y) for y in levels), 32, power)
    for errors, expected in ((near**2, ours.mse), (near, ours.mae)):
        means = errors.mean(axis=1)
        assert means.mean() == pytest.approx(expected, abs=5 * means.std() / math.sqrt(len(means)))
