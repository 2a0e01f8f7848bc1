import numpy as np
import pytest

from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.quant.advice import SpecAdvice, advise

RANDOM = np.random.default_rng(0)


def advice_on(values: np.ndarray, spec: str) -> list[SpecAdvice]:
    return advise(finish(analyze(values.astype(np.float32), QuantSpec.parse(spec))))


def sqnr(values: np.ndarray, spec: QuantSpec) -> float:
    return finish(analyze(values.astype(np.float32), spec)).metrics.sqnr_db


SPREAD = RANDOM.normal(size=(32, 64)) * np.geomspace(0.01, 1, 32)[:, None]
TAILED = np.append(RANDOM.normal(size=4000), 30.0)
SHIFTED = RANDOM.normal(size=4000) + 3
SKEWED = np.abs(RANDOM.normal(size=4000)) ** 3 - 0.2
PLAIN = RANDOM.uniform(-1, 1, size=(8, 512))


@pytest.mark.parametrize(
    ("values", "spec", "word"),
    [
        (SPREAD, "int8", "far apart"),
        (TAILED, "int4", "long tail"),
        (SHIFTED, "int4 mse", "The mean is"),
        (SKEWED, "int4 mse", "Skew"),
        (RANDOM.standard_t(2, size=(4, 4096)), "int2 channel:0", "bits are few"),
    ],
)
def test_a_problem_is_seen_and_its_remedy_helps(values: np.ndarray, spec: str, word: str) -> None:
    found = next(each for each in advice_on(values, spec) if word in each.sentence)
    assert sqnr(values, found.spec) > sqnr(values, QuantSpec.parse(spec))
    assert found.remedy


def test_where_nothing_is_wrong_nothing_is_said() -> None:
    assert advice_on(PLAIN, "int8") == []
    assert advice_on(SPREAD, "int8 channel:0") == []
    assert advice_on(np.zeros(100), "int8") == []
    assert advice_on(SHIFTED, "bf16") == []
