"""NF4, bitsandbytes' FP4 and AF4 against their definitions and the errors that others have published."""

from statistics import NormalDist

import numpy as np
import pytest

from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.quant.formats import formats
from qexplorer.quant.params import QuantParams

JUDGE = "codebook tables"

BOOKS = ("nf4", "fp4_bnb", "af4")


def unit() -> QuantParams:
    return QuantParams(np.ones(1, np.float32), np.zeros(1, np.int32), 0, 15)


def table(name: str) -> np.ndarray:
    return formats[name].dequantize(np.arange(16, dtype=np.int32)[None], unit())[0]


def test_nf4_has_the_quantiles_of_the_normal_distribution() -> None:
    offset = ((1 - 1 / 32) + (1 - 1 / 30)) / 2
    half = NormalDist().inv_cdf
    upper = [half(p) for p in np.linspace(offset, 0.5, 9)[:-1]]
    lower = [-half(p) for p in np.linspace(offset, 0.5, 8)[:-1]]
    levels = np.sort([*upper, 0.0, *lower])
    np.testing.assert_allclose(table("nf4"), levels / levels.max(), atol=2e-7)


def test_bnb_fp4_has_the_levels_of_its_code_table(verdict) -> None:
    magnitudes = [0, 0.0052083, 0.6666667, 1, 0.3333333, 0.5, 0.1666667, 0.25]
    np.testing.assert_allclose(table("fp4_bnb"), [*magnitudes, *(-m for m in magnitudes)], atol=5e-8)
    verdict.checked(16, formats=("fp4_bnb",))


@pytest.mark.parametrize("name", BOOKS)
def test_every_value_gets_the_nearest_level(name: str, rng: np.random.Generator) -> None:
    x = rng.uniform(-1.2, 1.2, 100_000).astype(np.float32)
    levels = table(name)
    values = levels[formats[name].quantize(x[None], unit())[0]]
    nearest = np.abs(x[:, None].astype(np.float64) - levels).min(axis=1)
    np.testing.assert_allclose(np.abs(values.astype(np.float64) - x), nearest, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "block", "mae", "measured"),
    [("nf4", 64, 0.072796, 0.072798), ("nf4", 256, 0.080329, 0.080337), ("fp4_bnb", 64, 0.096546, 0.096543),
     ("fp4_bnb", 256, 0.108688, 0.108684)],
)  # fmt: skip
def test_the_error_of_blocks_of_normal_values_is_the_exact_one_and_what_bitsandbytes_measured(
    name: str, block: int, mae: float, measured: float, verdict
) -> None:
    x = np.random.default_rng(6).normal(size=(1024, 1024)).astype(np.float32)
    a = finish(analyze(x, QuantSpec.from_json({"format": name, "granularity": f"group:{block}"})))
    for expected in (mae, measured):
        assert a.metrics.mae == pytest.approx(expected, abs=5 * 0.00013)
    assert a.metrics.bits_per_weight == 4 + 32 / block
    verdict.checked(formats=(name,))


@pytest.mark.parametrize(("name", "clip", "mse"), [("nf4", 2.86306, 0.00989932), ("fp4_bnb", 2.56362, 0.01658612),
                                                   ("af4", 2.82618, 0.01070053)])  # fmt: skip
def test_the_error_on_normal_values_is_the_integrals(name: str, clip: float, mse: float) -> None:
    x = np.random.default_rng(8).normal(size=1_000_000).astype(np.float32)
    a = finish(analyze(x, QuantSpec.from_json({"format": name, "observer": f"fixed:-{clip},{clip}"})))
    assert a.metrics.mse == pytest.approx(mse, rel=0.01)  # five standard errors of a million values


@pytest.mark.parametrize("name", BOOKS)
@pytest.mark.parametrize(
    ("field", "value"),
    [("scheme", "affine"), ("convention", "full_span"), ("rounding", "half_up"), ("observer", "histogram")],
)
def test_what_makes_no_sense_for_a_table_is_refused_by_name(name: str, field: str, value: str) -> None:
    with pytest.raises(UserError) as refused:
        QuantSpec.from_json({"format": name, field: value})
    assert refused.value.field == field
    assert name.upper() in str(refused.value) or "histogram" in str(refused.value)


@pytest.mark.parametrize("name", BOOKS)
def test_levels_widths_and_counts_describe_the_table_in_use(name: str, rng: np.random.Generator) -> None:
    a = finish(analyze(rng.normal(size=5000).astype(np.float32), QuantSpec.from_json({"format": name})))
    assert a.level_counts.sum() == 5000
    assert (np.diff(a.levels) > 0).all()
    levels = np.unique(table(name).astype(np.float64)) * a.params.scale[0]
    middles = (levels[1:] + levels[:-1]) / 2
    inner = np.isin(a.levels, levels[1:-1])
    np.testing.assert_allclose(a.level_widths[inner], np.diff(middles)[np.isin(levels[1:-1], a.levels)])
