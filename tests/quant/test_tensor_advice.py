import itertools

import numpy as np
import pytest

from qexplorer.progress import finish
from qexplorer.quant import Analysis, QuantSpec, analyze
from qexplorer.quant.advice import SpecAdvice, advise
from qexplorer.quant.layer_kinds import LayerKind
from qexplorer.quant.moments import shape_of
from qexplorer.quant.sketch import sketch
from qexplorer.quant.tensor_source import Values

RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(size=(100, 600))
SPREAD = RANDOM.normal(size=(32, 64)) * np.geomspace(0.01, 1, 32)[:, None]
TAILED = RANDOM.standard_t(3, size=(64, 256))
SHIFTED = RANDOM.normal(size=4000) + 3
SKEWED = np.abs(RANDOM.normal(size=4000)) - 0.6
PLAIN = RANDOM.uniform(-1, 1, size=(8, 512))


def outlier(value: float) -> np.ndarray:
    x = NORMAL.copy()
    x[3, 5] = value
    return x


def analysis_of(values: np.ndarray, spec: str) -> Analysis:
    return finish(analyze(values.astype(np.float32), QuantSpec.parse(spec)))


def advice_on(values: np.ndarray, spec: str) -> tuple[SpecAdvice, ...]:
    own = Values.of(values.astype(np.float32))
    return advice_of(own, analysis_of(values, spec))


def advice_of(values: Values, analysis: Analysis) -> tuple[SpecAdvice, ...]:
    return finish(advise(values, analysis, finish(shape_of(values, finish(sketch(values))))))


@pytest.mark.parametrize(
    ("values", "spec", "word"),
    [
        (SPREAD, "int8", "very different sizes"),
        (SPREAD, "int4", "very different sizes"),
        (TAILED, "int4", "long tail"),
        (SHIFTED, "int4 mse", "The mean is 3"),
        (SHIFTED, "int8", "The mean is 3"),
        (SKEWED, "int4 mse", "Skew"),
        (RANDOM.standard_t(2, size=(4, 4096)), "int2 channel", "fall on one code"),
        (RANDOM.normal(size=(64, 256)), "int2 channel", "2 bits are few for 256 values"),
        (outlier(1e4), "int8", "stands alone"),
        (RANDOM.normal(size=(64, 64)) * 0.01 + 100, "int8", "fall on one code"),
    ],
)
def test_a_problem_is_seen_and_its_remedy_helps(values: np.ndarray, spec: str, word: str) -> None:
    found = next(each for each in advice_on(values, spec) if word in each.sentence)
    assert found.remedy
    assert found.spec is not None
    assert found.sqnr_db is not None
    assert found.sqnr_db > analysis_of(values, spec).metrics.sqnr_db


@pytest.mark.parametrize(
    "spec",
    ["int8", "int4", "int8 mse", "int2 channel", "int4 group:32", "uint4 affine", "nf4 group:64", "fp8_e4m3fn"],
)
def test_every_remedy_gives_what_it_says_and_more_than_its_bits(spec: str) -> None:
    for values in (SPREAD, TAILED, SHIFTED, SKEWED, PLAIN, outlier(30), outlier(1e4)):
        now = analysis_of(values, spec).metrics
        for each in advice_on(values, spec):
            if each.spec is None:
                continue
            then = analysis_of(values, each.spec.short).metrics
            assert (each.sqnr_db, each.bits_per_weight) == (pytest.approx(then.sqnr_db), then.bits_per_weight)
            assert f"{then.sqnr_db:.1f} dB, now {now.sqnr_db:.1f}; {then.bits_per_weight:.2f} bits" in each.figure
            if "bits are few" not in each.sentence:  # there more bits are the last resort
                more = max(then.bits_per_weight - now.bits_per_weight, 0)
                assert then.sqnr_db - now.sqnr_db >= 1 + 6.02 * more


@pytest.mark.parametrize("value", [100.0, 1e4, -1e6])
def test_one_outlier_is_named_with_what_keeping_and_clipping_it_costs(value: float) -> None:
    x = outlier(value).astype(np.float32)
    sentence = advice_on(x, "int8")[0].sentence
    others = np.delete(x.reshape(-1), 3 * 600 + 5).astype(np.float64)
    sigmas = abs(value - others.mean()) / others.std()
    steps = abs(value) / 127, np.abs(others).max() / 127
    kept, own = (np.clip(np.rint(others / step), -127, 127) * step for step in steps)
    codes = "one code" if np.ptp(kept) == 0 else f"{len(np.unique(kept))} codes"
    db = [10 * np.log10((others**2).sum() / ((y - others) ** 2).sum()) for y in (kept, own)]
    assert f"{abs(value):,.0f} at [3, 5]" in sentence
    said = float(sentence.split("at [3, 5], ")[1].split(" σ")[0].replace(",", ""))
    assert said == pytest.approx(sigmas, rel=0.01)
    assert f"puts the 59,999 other values on {codes}, {db[0]:.1f} dB" in sentence
    assert f"would give them {db[1]:.1f} dB and turn it into {'−' * (value < 0)}{np.abs(others).max():.3g}" in sentence
    assert "super weights, arXiv:2411.07191" in sentence
    assert not any("ffine" in each.remedy for each in advice_on(x, "int8"))


@pytest.mark.parametrize(("spec", "under"), [("int8 channel", 599), ("int8 channel:1", 99), ("int4 group:32", 31)])
def test_an_outlier_costs_only_those_under_its_scale(spec: str, under: int) -> None:
    sentence = advice_on(outlier(1e4), spec)[0].sentence
    assert f"the {under} other values under its scale on one code" in sentence


def test_an_outlier_that_is_clipped_is_said_to_be() -> None:
    sentence = advice_on(outlier(30.0), "int8 mse")[0].sentence
    assert "30 at [3, 5]" in sentence
    assert "The range of this spec turns it into" in sentence


def test_on_too_many_values_no_remedy_searches() -> None:
    own, analysis = Values.of(TAILED.astype(np.float32)), analysis_of(TAILED, "int4 channel")
    shape = finish(shape_of(own, finish(sketch(own))))
    for searched in (own.n, own.n - 1):
        advice = finish(advise(own, analysis, shape, searched=searched))
        plain = [each.spec.format.uniform and each.spec.observer.name == "minmax" for each in advice if each.spec]
        assert plain
        assert all(plain) == (searched < own.n)


def test_channels_are_those_of_the_layer() -> None:
    kind = LayerKind("", "1")
    own = Values.of(SPREAD.T.astype(np.float32), kind=kind)
    spec = QuantSpec.parse("int8")
    advice = advice_of(own, finish(analyze(own, spec)))
    assert "very different sizes" in advice[0].sentence
    assert advice[0].remedy == "One scale per channel"


def test_where_nothing_is_wrong_nothing_is_said() -> None:
    assert advice_on(PLAIN, "int8") == ()
    assert advice_on(SPREAD, "int8 channel") == ()
    assert advice_on(np.zeros(100), "int8") == ()
    assert advice_on(np.full(100, 3.0), "int8") == ()
    assert advice_on(SHIFTED, "bf16") == ()
    assert advice_on(np.zeros((0, 4)), "int8") == ()
    assert advice_on(outlier(1e4).reshape(-1, 1), "int8 channel") == ()  # which is alone under its scale


def test_an_sqnr_that_one_value_makes_is_not_taken_for_good() -> None:
    for value, spec in itertools.product((1e4, 1e6), ("int8", "int4")):
        found = analysis_of(outlier(value), spec)
        assert found.metrics.lost
        assert found.metrics.sqnr_db > 15
    sparse = NORMAL * (RANDOM.random(NORMAL.shape) < 0.001)
    for values, spec in (
        (NORMAL, "int4"),
        (sparse, "int8"),
        (np.full(100, 3.0), "int8"),
        (outlier(1e4), "int8 channel"),
    ):
        assert not analysis_of(values, spec).metrics.lost
