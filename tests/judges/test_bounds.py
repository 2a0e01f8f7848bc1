"""What a sketch says lies between its bounds, for every observer: judged by plain NumPy on the values themselves."""

import importlib
import math
from collections.abc import Iterator

import numpy as np
import pytest

from qexplorer.progress import finish
from qexplorer.quant import Analysis, QuantSpec, analyze
from qexplorer.quant.analysis import analyze_sketch
from qexplorer.quant.observers import observers
from qexplorer.quant.quantize import quantize
from qexplorer.quant.sketch import sketch
from qexplorer.quant.tensor_source import Values

JUDGE = "NumPy on every value"
N = 20_000
FORMATS = (
    "int8", "int4", "int2", "uint8 affine", "uint4 affine_float", "int8 toward_zero", "int8 full_span", "int8 e8m0",
    "int4 signed_extreme", "fp8_e4m3fn", "nf4", "ternary", "binary", "bf16", "fp16",
)  # fmt: skip


def draws() -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    yield "normal", rng.normal(size=N)
    yield "t3", rng.standard_t(3, size=N)
    yield "relu", np.maximum(rng.normal(size=N), 0)
    yield "outlier", np.append(rng.normal(size=N - 1), 40)
    yield "shifted", rng.normal(size=N) * 0.01 + 1
    yield "tiny", rng.normal(size=N) * 1e-9
    yield "huge", rng.normal(size=N) * 1e5


DATA = [pytest.param(x.astype(np.float32), id=name) for name, x in draws()]


SEARCHED = ("int4", "uint4 affine_float", "nf4")


def specs() -> Iterator[QuantSpec]:
    for words in FORMATS:
        spec = QuantSpec.parse(words)
        for cls in observers:
            served = not spec.applies("observer") and not spec.refusal("observer", cls())
            if served and (words in SEARCHED or cls.name in ("minmax", "fixed", "absmean", "percentile", "aciq")):
                yield spec.adopt("observer", cls())
        if spec.applies("observer"):
            yield spec


SPECS = list(specs())


def figures(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """By NumPy."""
    a, b = x.astype(np.float64), y.astype(np.float64)
    e = b - a
    mse = float((e * e).mean())
    ratio = float((a * a).mean()) / mse if mse else math.inf
    return {
        "mse": mse,
        "rmse": math.sqrt(mse),
        "mae": float(np.abs(e).mean()),
        "max_abs_error": float(np.abs(e).max()),
        "sqnr_db": 10 * math.log10(ratio) if ratio else -math.inf,
        "relative_rmse": ratio**-0.5 if ratio else math.inf,
    }


def require_within(rough: Analysis, true: dict[str, float]) -> None:
    for name, value in true.items():
        low, high = rough.bounds[name]
        room = 1e-9 * max(abs(value), 1e-300) if math.isfinite(value) else 0.0
        assert low - room <= value <= high + room, (rough.spec.short, name, value, low, high)


@pytest.mark.parametrize("x", DATA)
def test_every_figure_of_every_observer_lies_within_its_bounds_or_is_said_to_be_of_this_range(x, verdict):
    importlib.import_module("qexplorer.quant.kernels")
    whole, certain = finish(sketch(Values.of(x))), 0
    for spec in SPECS:
        rough = analyze_sketch(whole, x.shape, spec, bins=0)
        assert rough.coverage == "sketch"
        for name, (low, high) in rough.bounds.items():
            assert low <= high, (spec.short, name)  # and neither is NaN
        _, y, _ = quantize(x, spec, rough.params)
        require_within(rough, figures(x, y))
        if rough.for_this_range:
            assert spec.observer.asks == "values"
            continue
        exact = finish(analyze(x, spec, bins=0))
        assert exact.bounds == {}
        certain += 1
        names = ("clipped_fraction", "code_utilization", "code_entropy_bits", "cosine")
        _, y, _ = quantize(x, spec, exact.params)
        require_within(rough, figures(x, y) | {name: getattr(exact.metrics, name) for name in names})
    assert certain >= 2 * len(FORMATS)
    verdict.checked(certain)


def test_where_the_exact_range_is_another_the_sketch_says_of_which_it_speaks():
    x = np.random.default_rng(3).standard_t(3, size=N).astype(np.float32)
    whole = finish(sketch(Values.of(x)))
    differ = 0
    for spec in SPECS:
        rough, exact = analyze_sketch(whole, x.shape, spec, bins=0), finish(analyze(x, spec, bins=0))
        if not np.array_equal(rough.params.scale, exact.params.scale):
            differ += 1
            assert rough.for_this_range or spec.observer.name == "absmean", spec.short
    assert differ > 10
