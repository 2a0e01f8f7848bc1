"""The MSE observer beside the exact optimum, and both beside a brute force over scales with tables of its own."""

import math

import ml_dtypes
import numpy as np
import pytest

from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.quant.formats import formats
from qexplorer.quant.observers import observers

JUDGE = "brute force over scales"
SIZE = 2000
NEAR_DB = 0.05


def error(x: np.ndarray, spec: str) -> float:
    return finish(analyze(x, QuantSpec.parse(spec), bins=0)).sums.e2


def served(name: str, scheme: str) -> bool:
    try:
        QuantSpec.from_json({"format": name, "scheme": scheme, "observer": "optimal"})
    except UserError:
        return False
    return True


BOTH = [(name, scheme) for name in formats.names for scheme in ("symmetric", "affine") if served(name, scheme)]


def bells():
    rng = np.random.default_rng(5)
    yield rng.normal(size=SIZE)
    yield rng.laplace(size=SIZE) * 0.02
    yield rng.standard_t(3, size=SIZE)


def shapes():
    """Those that 100 shares of min/max miss most: no scale that clips nothing is near the best one."""
    rng = np.random.default_rng(6)
    yield from bells()
    yield rng.uniform(-1, 1, SIZE)
    yield rng.uniform(0.5, 3, SIZE)
    yield np.append(rng.normal(size=SIZE - 1), 80)
    yield np.round(rng.normal(size=SIZE) * 4) / 4
    yield np.exp(3 * rng.normal(size=SIZE)) * rng.choice([-1, 1], SIZE)


def floats(dtype: type) -> np.ndarray:
    codes = np.arange(2 ** ml_dtypes.finfo(dtype).bits, dtype=np.uint8).view(dtype).astype(np.float64)
    return np.unique(codes[np.isfinite(codes)])


TABLES = {
    "fp8_e4m3fn": floats(ml_dtypes.float8_e4m3fn),
    "fp8_e5m2": floats(ml_dtypes.float8_e5m2),
    "fp6_e2m3": floats(ml_dtypes.float6_e2m3fn),
    "fp6_e3m2": floats(ml_dtypes.float6_e3m2fn),
    "fp4_e2m1": floats(ml_dtypes.float4_e2m1fn),
    "ternary": np.array([-1.0, 0, 1]),
    "binary": np.array([-1.0, 1]),
}


def least(x: np.ndarray, levels: np.ndarray) -> float:
    """The least Σe² of 1,500 scales, each also refitted to the levels that it gives."""
    middles, best = (levels[1:] + levels[:-1]) / 2, math.inf
    high, low = np.abs(x).max() / np.abs(levels[levels != 0]).min(), np.abs(x).max() / levels[-1]
    for scale in np.geomspace(low / 300, high * 2, 1500):
        chosen = levels[np.searchsorted(middles, x / scale)]
        refitted = (x * chosen).sum() / (chosen * chosen).sum() if chosen.any() else scale
        if refitted > 0:
            best = min(best, ((x - refitted * levels[np.searchsorted(middles, x / refitted)]) ** 2).sum())
    return float(best)


@pytest.mark.parametrize(("name", "scheme"), BOTH, ids=str)
def test_the_mse_observer_is_as_good_as_the_optimum_on_bells(name, scheme):
    for x in bells():
        spec = f"{name} {scheme}" if "scheme" in formats[name].applies else name
        best, found = (error(x.astype(np.float32), f"{spec} {each}") for each in ("optimal", "mse"))
        assert 10 * math.log10(found / best) < NEAR_DB, spec


@pytest.mark.parametrize("name", TABLES)
def test_tables_and_small_floats_have_the_best_of_all_scales_whatever_the_values(name):
    for i, shape in enumerate(shapes()):
        x = shape.astype(np.float32)
        judged, found = least(x.astype(np.float64), TABLES[name]), error(x, f"{name} mse")
        assert found <= judged * (1 + 1e-4) + 1e-12 * (x.astype(np.float64) ** 2).sum(), i
        assert found == pytest.approx(error(x, f"{name} optimal"), rel=1e-9, abs=1e-20)


def test_its_title_says_that_it_tries_a_hundred_ranges():
    """In small groups and on lattices the best integer scale lies between them."""
    assert "100 ranges" in observers["mse"].title


@pytest.mark.parametrize("spec", ["int8 group:16", "int4 group:32", "int3 group:8", "nf4 group:64"])
def test_with_double_quantized_scales_it_is_never_worse_than_minmax(spec):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = (rng.normal(size=(8, 512)) * np.exp(rng.normal(size=(8, 1)))).astype(np.float32)
        assert error(x, f"{spec} double mse") <= error(x, f"{spec} double")
