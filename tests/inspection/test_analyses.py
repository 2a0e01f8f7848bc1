"""Analyses of a tensor: at once from a sketch or a sample, then exactly; and what is remembered of them."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from qexplorer.errors import UserError
from qexplorer.inspection import analyses as module
from qexplorer.inspection.analyses import Analyses
from qexplorer.inspection.recent import Recent
from qexplorer.inspection.sketch_cache import SketchCache
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec
from qexplorer.weights import open_checkpoint

INT4, GROUPS = (
    QuantSpec.from_json({"format": "int4"}),
    QuantSpec.from_json({"format": "int4", "granularity": "group:64"}),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    save_file(
        {
            "large": rng.standard_t(4, (600, 512)).astype(np.float32),
            "half": rng.normal(size=(600, 512)).astype(np.float16),
            "small": rng.normal(size=(9, 9)).astype(np.float32),
            "steps": np.arange(300_000),
        },
        tmp_path / "w.safetensors",
    )
    return tmp_path / "w.safetensors"


def new(file: Path, cache: SketchCache | None = None) -> Analyses:
    return Analyses(finish(open_checkpoint(str(file))), cache)


def test_only_large_tensors_are_looked_at_quickly_first(file: Path) -> None:
    ours = new(file)
    assert [name for name in ("large", "half", "small") if ours.quick_first(name)] == ["large", "half"]


def test_one_scale_is_answered_by_a_sketch_within_its_bound(file: Path) -> None:
    ours = new(file)
    rough, exact = finish(ours.quick("large", INT4)), finish(ours.exact("large", INT4))
    assert (rough.coverage, exact.coverage) == ("sketch", "exact")
    low, high = rough.bounds["sqnr_db"]
    assert low <= exact.metrics.sqnr_db <= high
    assert (rough.data_lo, rough.data_hi) == (exact.data_lo, exact.data_hi)
    assert rough.metrics.original_bytes == exact.metrics.original_bytes == 600 * 512 * 4


def test_of_half_precision_the_quick_look_is_exact(file: Path) -> None:
    ours = new(file)
    rough, exact = finish(ours.quick("half", INT4)), finish(ours.exact("half", INT4))
    assert rough.coverage == "exact"
    np.testing.assert_array_equal(rough.original, exact.original)
    assert rough.metrics.sqnr_db == pytest.approx(exact.metrics.sqnr_db, rel=1e-12)


def test_many_scales_are_answered_by_a_sample_of_known_size(file: Path) -> None:
    ours = new(file)
    rough, exact = finish(ours.quick("large", GROUPS)), finish(ours.exact("large", GROUPS))
    assert (rough.coverage, rough.coverage_n) == ("sampled", 65_536)
    low, high = rough.bounds["sqnr_db"]
    assert low <= exact.metrics.sqnr_db <= high
    assert high - low < 1
    assert (rough.metrics.bytes, rough.metrics.nonfinite) == (exact.metrics.bytes, exact.metrics.nonfinite)
    assert (rough.data_lo, rough.data_hi) == (exact.data_lo, exact.data_hi)


def test_a_range_that_is_searched_in_each_group_has_no_figure_before_the_exact_one(file: Path) -> None:
    rough = finish(new(file).quick("large", QuantSpec.parse("int4 channel:0 mse")))
    assert rough.coverage == "sampled"
    assert np.isnan([rough.metrics.sqnr_db, rough.metrics.mse, rough.metrics.clipped_fraction]).all()
    assert rough.bounds == {}


def test_what_was_measured_is_known_and_what_was_not_is_not(file: Path) -> None:
    ours = new(file)
    assert ours.known("large", INT4) is None
    finish(ours.quick("large", INT4))
    assert ours.known("large", INT4) is None
    exact = finish(ours.exact("large", INT4))
    assert ours.known("large", INT4) is exact


def test_a_file_that_was_seen_before_is_not_counted_again(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = SketchCache(tmp_path / "sketches.sqlite3")
    first = finish(new(file, cache).quick("large", INT4))
    monkeypatch.setattr(module, "sketch", None)
    again = finish(new(file, cache).quick("large", INT4))
    np.testing.assert_array_equal(again.original, first.original)
    file.touch()
    with pytest.raises(TypeError):
        finish(new(file, cache).quick("large", INT4))


def test_a_spec_that_does_not_serve_is_refused_at_the_quick_look(file: Path) -> None:
    with pytest.raises(UserError, match="Axis 5"):
        finish(new(file).quick("large", QuantSpec.from_json({"granularity": "channel:5"})))
    with pytest.raises(UserError, match="int64"):
        finish(new(file).quick("steps", INT4))


def test_recent_holds_no_more_than_it_may_and_always_the_newest() -> None:
    recent: Recent[str, bytes] = Recent(10, len)
    recent.put("a", b"1234")
    recent.put("b", b"1234")
    assert recent.get("a") == b"1234"
    recent.put("c", b"1234")
    assert [name for name in "abc" if recent.get(name)] == ["a", "c"]
    recent.put("a", b"12")
    recent.put("d", b"1" * 99)
    assert [name for name in "abcd" if recent.get(name)] == ["d"]
