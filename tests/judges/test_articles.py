"""The worked numbers of the articles that this project grew from, put right where they fit no linear map."""

import numpy as np
import pytest

from qexplorer.quant import QuantSpec
from qexplorer.quant.formats import formats
from qexplorer.quant.quantize import quantize

JUDGE = "worked numbers of the articles"
ARTICLE = np.array([0.45, -0.23, 0.89, -0.75], np.float32)


def within(values, lo, hi):
    """The values, with the least and the greatest put at `lo` and `hi`."""
    values = np.clip(values, lo, hi).astype(np.float32)
    values[[0, 1]] = lo, hi
    return values


def test_the_articles_four_weights_have_the_right_codes_not_the_printed_ones():
    codes, _, params = quantize(ARTICLE, QuantSpec(scheme="affine"))
    assert codes.tolist() == [59, -47, 127, -128]
    assert params.scale[0] == pytest.approx(0.0064314, abs=5e-8)
    assert params.zero_point.tolist() == [-11]
    assert quantize(ARTICLE, QuantSpec())[0].tolist() == [64, -33, 127, -107]


def test_int4_has_the_sixteen_codes_of_the_article():
    x = np.linspace(-0.9, 1, 1001)
    codes, _, params = quantize(x, QuantSpec(formats["int4"], "affine"))
    assert (params.qmin, params.qmax) == (-8, 7)
    assert np.unique(codes).tolist() == list(range(-8, 8))


@pytest.mark.parametrize(
    ("lo", "hi", "least"), [(-3.9224, 4.4791, -111), (-6.9999, 16.4827, -54)], ids=["normal", "exponential"]
)
def test_the_articles_arrays_use_all_codes_only_if_the_scheme_is_affine(lo, hi, least, rng):
    x = within(rng.normal(size=20_000) if least == -111 else rng.exponential(3, 20_000) - 7, lo, hi)
    symmetric = quantize(x, QuantSpec())[0]
    assert (symmetric.min(), symmetric.max()) == (least, 127)
    affine = quantize(x, QuantSpec(scheme="affine"))[0]
    assert (affine.min(), affine.max()) == (-128, 127)
