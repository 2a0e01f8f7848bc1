"""Large tensors in the preview: roughly at once, then exactly."""

import numpy as np
import pytest
from watched_preview import INT4, direct

from qexplorer.inspection import analyses as analyses_module
from qexplorer.quant.granularity import PerChannel
from qexplorer.quant.recipe import Recipe
from qexplorer.quant.spec import QuantSpec
from qexplorer.state import preview as preview_module


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of more than 10,000 values count as large."""
    monkeypatch.setattr(analyses_module, "QUICK_FROM", 10_000)


def test_a_large_tensor_is_shown_roughly_and_then_exactly(qtbot, watch, file, quick):
    seen = watch(path=file, tensor="wide.weight").start(qtbot)
    assert [a.coverage for a in seen.of("analyzed")] == ["sketch", "exact"]
    seen.told.clear()
    seen.store.update(recipe=Recipe.of_weights(INT4.adopt("granularity", PerChannel(0))))
    seen.settle(qtbot)
    rough, exact = seen.of("analyzed")
    assert (rough.coverage, exact.coverage) == ("sampled", "exact")
    assert [db for name, db in seen.of("measured") if name == "wide.weight"][:1] == [exact.metrics.sqnr_db]
    assert seen.preview.analysis is exact
    assert rough.metrics.sqnr_db == pytest.approx(exact.metrics.sqnr_db, abs=0.5)
    np.testing.assert_array_equal(exact.original, direct(file, "wide.weight", exact.spec).original)


def test_while_choices_follow_each_other_nothing_is_measured_exactly(qtbot, watch, file, quick, monkeypatch):
    monkeypatch.setattr(preview_module, "CALM_MS", 400)
    seen = watch(path=file, tensor="wide.weight").start(qtbot)
    seen.told.clear()
    for bits in (2, 3, 5, 6, 7):
        seen.store.update(recipe=Recipe.of_weights(QuantSpec.from_json({"format": f"int{bits}"})))
        qtbot.waitUntil(lambda: seen.preview.analysis.spec == seen.store.state.recipe.every.weights)
        assert seen.preview.analysis.coverage == "sketch"
        assert not seen.preview.busy
        assert not seen.preview.idle
    seen.settle(qtbot)
    coverage = [a.coverage for a in seen.of("analyzed")]
    assert coverage == ["sketch"] * 5 + ["exact"]


def test_what_is_known_exactly_is_shown_without_a_rough_look(qtbot, watch, file, quick):
    seen = watch(path=file, tensor="wide.weight").start(qtbot)
    first = seen.preview.analysis
    seen.store.update(recipe=Recipe.of_weights(INT4))
    seen.settle(qtbot)
    seen.told.clear()
    seen.store.undo()
    seen.settle(qtbot)
    assert [a.coverage for a in seen.of("analyzed")] == ["exact"]
    assert seen.preview.analysis.metrics == first.metrics


def test_a_large_tensor_that_cannot_have_the_spec_says_so_once(qtbot, watch, file, quick):
    seen = watch(path=file, tensor="wide.weight").start(qtbot)
    seen.store.update(recipe=Recipe.of_weights(QuantSpec(granularity=PerChannel(5))))
    seen.settle(qtbot)
    assert len(seen.of("failed")) == 1
    assert seen.preview.analysis is None
