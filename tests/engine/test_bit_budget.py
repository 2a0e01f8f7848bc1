"""The sizes of a bit budget: what is locked, what is promised, and what the model then takes."""

from typing import Any

import pytest

from qexplorer.engine.jobs import jobs
from qexplorer.engine.runs.results import RunResult
from qexplorer.errors import UserError
from qexplorer.progress import finish

SETTINGS: dict[str, Any] = {
    "model": "vit_digits", "limit": 24, "threads": 1, "timing": "off", "calibration": 32, "checked": 0,
    "widths": "2,4,8",
}  # fmt: skip


def budget(**settings: Any) -> RunResult:
    return finish(jobs["bit-budget"](**{**SETTINGS, **settings}).run())


def chosen(result: RunResult) -> dict[str, Any]:
    return result.findings.front[result.findings.chosen]


def test_a_layer_is_locked_even_at_the_spec_of_all_others() -> None:
    result = budget(target="3 bits", overrides="blocks.0.*=int4 channel:0 mse")
    locked = [layer for layer in result.layers if layer.name.startswith("blocks.0.")]
    assert list(result.findings.locked) == sorted(layer.name for layer in locked)
    assert {layer.spec for layer in locked} == {"int4 channel:0 mse"}
    assert result.spec.average_bits == pytest.approx(chosen(result).average_bits)
    assert result.spec.average_bits <= 3


@pytest.mark.parametrize("more", [{}, {"activation_spec": "uint8 affine"}, {"repairs": "fold,bias_correction"}])
@pytest.mark.parametrize("target", ["150 kB", "0.1 MB"])
def test_a_size_is_that_of_the_whole_model(target: str, more: dict[str, str]) -> None:
    result = budget(target=target, **more)
    number, unit = target.split()
    size = result.rows[1].bytes_theoretical
    assert size <= float(number) * {"kB": 1e3, "MB": 1e6}[unit]
    assert size == chosen(result).bytes


def test_with_every_layer_locked_there_is_nothing_to_choose() -> None:
    with pytest.raises(UserError, match="All layers are locked") as caught:
        budget(overrides="*=int8")
    assert caught.value.field == "overrides"


def test_fewer_bits_than_the_narrowest_width_are_refused_at_once() -> None:
    with pytest.raises(UserError, match=r"No choice of widths fits 1\.5 bits") as caught:
        jobs["bit-budget"](**SETTINGS, target="1.5 bits")
    assert caught.value.field == "target"
