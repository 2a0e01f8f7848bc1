"""Tensors at the ends of float32, and searches that must not depend on how the work is cut."""

import itertools

import numpy as np
import pytest

from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze, pieces
from qexplorer.quant.formats import formats
from qexplorer.quant.scale_dtypes import scale_dtypes

SHAPES = [(1, 1), (7, 1), (33,), (2, 130)]


def metrics(x: np.ndarray, **fields: str):
    return finish(analyze(x, QuantSpec.from_json(fields))).metrics


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", [1e-42, 1e-30, 1e30, 3.2e38])
@pytest.mark.parametrize("name", formats.names)
def test_every_format_measures_every_size_of_value(name, size, shape, rng):
    """Warnings are errors here: no overflow may pass unseen. The error is bounded where values are not at the end."""
    x = (np.clip(rng.normal(size=shape), -1, 1) * size).astype(np.float32)
    found = metrics(x, format=name)
    assert found.nonfinite == 0
    if size < 1e30:
        assert found.max_abs_error <= 2 * np.abs(x).max() + 2.0**-20


@pytest.mark.parametrize("scheme", ["symmetric", "affine", "affine_float"])
@pytest.mark.parametrize("dtype", list(scale_dtypes), ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("size", [1e-42, 1e30, 3.2e38])
def test_every_scale_type_stores_every_size_of_scale(dtype, scheme, size, rng):
    x = (np.clip(rng.normal(size=(4, 24)), -1, 1) * size).astype(np.float32)
    spec = QuantSpec(scheme=scheme)
    if spec.refusal("scale_dtype", dtype):
        pytest.skip(spec.refusal("scale_dtype", dtype))
    for granularity, name in itertools.product(("tensor", "channel:0", "group:8"), ("int4", "int8")):
        fields = {"format": name, "scheme": scheme, "scale_dtype": dtype.name, "granularity": granularity}
        a = finish(analyze(x, QuantSpec.from_json(fields)))
        assert np.isfinite(a.params.scale).all()
        assert (a.params.scale > 0).all()


@pytest.mark.parametrize(
    "fields",
    [
        {"observer": "lp:3", "rounding": "stochastic:5"},
        {"observer": "mse", "scale_dtype": "double"},
        {"observer": "mse", "scale_dtype": "e4m3"},
        {"observer": "optimal", "format": "nf4"},
        {"observer": "hqq", "format": "uint4", "scheme": "affine_float"},
    ],
    ids=lambda fields: " ".join(fields.values()),
)
def test_a_search_does_not_depend_on_how_the_work_is_cut(fields, rng, monkeypatch):
    x = rng.laplace(size=(24, 40)).astype(np.float32)
    fields = {"format": "int2", "granularity": "group:8", **fields}
    whole = metrics(x, **fields).mse
    monkeypatch.setattr(pieces, "BLOCK", 37)
    monkeypatch.setattr(pieces, "SEARCHED", 37)
    assert metrics(x, **fields).mse == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("observer", ["hqq", "histogram", "entropy", "octav", "aciq:laplace"])
@pytest.mark.parametrize("value", [np.nan, 0.0, 1e30, 3.2e38])
def test_a_tensor_of_one_value_has_a_range(observer, value):
    scheme = "affine" if observer == "hqq" else "symmetric"
    found = metrics(np.full((1, 1), value, np.float32), format="int4", scheme=scheme, observer=observer)
    assert found.n == 1
