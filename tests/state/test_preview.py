import math
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from watched_preview import INT4, direct, weights

from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant import Analysis
from qexplorer.quant.granularity import PerChannel
from qexplorer.quant.recipe import Recipe
from qexplorer.quant.spec import QuantSpec
from qexplorer.resources import resource
from qexplorer.state import layer_scan as scan_module

SAMPLE = str(resource("mobilenet_v2_digits.safetensors"))


@pytest.fixture
def other_file(tmp_path: Path) -> str:
    """A file with tensors of the same names and other values."""
    path = tmp_path / "other.safetensors"
    save_file({k: (v * 3).astype(v.dtype) for k, v in weights(2).items()}, path)
    return str(path)


def test_without_a_path_nothing_happens(qtbot, watch):
    assert watch().start(qtbot).told == []


def test_a_file_is_opened_and_a_telling_tensor_shown(qtbot, watch, file):
    seen = watch(path=file).start(qtbot)
    assert [c.path for c in seen.of("opened")] == [Path(file)]
    assert seen.store.state.tensor == "head.weight"
    assert seen.preview.analysis is seen.of("analyzed")[-1]
    assert seen.preview.analysis.shape == (64, 256)
    assert seen.store.undo_text == ""
    assert not seen.preview.busy


def test_the_picture_is_what_the_quantizer_says_of_that_tensor(qtbot, watch, file):
    seen = watch(path=file, tensor="conv.weight", recipe=Recipe.of_weights(INT4)).start(qtbot)
    expected = direct(file, "conv.weight", INT4)
    assert seen.preview.analysis.metrics == expected.metrics
    np.testing.assert_array_equal(seen.preview.analysis.original, expected.original)


def test_a_wanted_tensor_that_is_not_there_gives_way_to_one_that_is(qtbot, watch, file):
    seen = watch(path=file, tensor="from another file").start(qtbot)
    assert seen.store.state.tensor == "head.weight"


def test_of_the_shipped_model_every_weight_gets_its_sqnr(qtbot, watch):
    seen = watch(path=SAMPLE, recipe=Recipe.of_weights(INT4)).start(qtbot)
    scanned = dict(seen.of("measured"))
    wanted = [t.name for t in seen.preview.checkpoint.tensors if len(t.shape) >= 2]
    assert len(wanted) > 20
    assert set(wanted) <= set(scanned)
    assert all(math.isfinite(db) for db in scanned.values())
    name = wanted[3]
    assert scanned[name] == direct(SAMPLE, name, INT4).metrics.sqnr_db


def test_the_scan_passes_over_what_is_no_float_or_a_single_value(qtbot, watch, file):
    seen = watch(path=file).start(qtbot)
    scanned = {name for name, _ in seen.of("measured")}
    assert scanned == {"small.weight", "conv.weight", "head.weight", "wide.weight", "conv.bias"}


def test_under_rapid_changes_the_newest_choice_is_shown_and_no_older_one_after_it(qtbot, watch, file):
    seen = watch(path=file, tensor="wide.weight").start(qtbot)
    specs = [QuantSpec.from_json({"format": f, "observer": "mse"}) for f in ("int8", "int6", "int5", "int3", "int2")]
    for spec in specs * 3:
        seen.store.update(recipe=Recipe.of_weights(spec))
    seen.told.clear()
    seen.settle(qtbot)
    assert {a.spec for a in seen.of("analyzed")} == {specs[-1]}
    assert seen.preview.analysis.spec == specs[-1]
    assert dict(seen.of("measured"))["wide.weight"] == seen.preview.analysis.metrics.sqnr_db


def test_every_shown_result_belongs_to_the_choice_of_that_moment(qtbot, watch, file):
    seen = watch(path=file).start(qtbot)
    wrong = []

    def check(analysis: Analysis) -> None:
        state = seen.store.state
        if (analysis.spec, analysis.shape) != (
            state.recipe.every.weights,
            seen.preview.checkpoint.tensor(state.tensor).shape,
        ):
            wrong.append(analysis)

    seen.preview.analyzed.connect(check)
    for i in range(40):
        seen.store.update(
            tensor=("conv.weight", "wide.weight", "small.weight")[i % 3],
            recipe=Recipe.of_weights((INT4, QuantSpec())[i % 2]),
        )
        if i % 5 == 0:
            qtbot.waitUntil(lambda: not seen.preview.busy)
    seen.settle(qtbot)
    assert wrong == []


def test_a_result_of_the_file_before_is_not_taken_for_one_of_the_new_file(qtbot, watch, file, other_file):
    seen = watch(path=file, tensor="conv.weight").start(qtbot)
    seen.told.clear()
    seen.store.update(recipe=Recipe.of_weights(INT4))
    time.sleep(0.3)  # it is done, but its end cannot be told before the events run
    seen.store.update(path=other_file)
    seen.settle(qtbot)
    assert [a.metrics for a in seen.of("analyzed")] == [direct(other_file, "conv.weight", INT4).metrics]


def test_opening_another_file_shows_its_values_for_tensors_of_the_same_name(qtbot, watch, file, other_file):
    seen = watch(path=file, tensor="conv.weight").start(qtbot)
    seen.store.update(path=other_file)
    seen.settle(qtbot)
    assert seen.preview.analysis.metrics == direct(other_file, "conv.weight", QuantSpec()).metrics
    seen.store.undo()
    seen.settle(qtbot)
    assert seen.preview.analysis.metrics == direct(file, "conv.weight", QuantSpec()).metrics


def test_of_many_files_chosen_quickly_only_the_last_is_opened(qtbot, watch, file, other_file):
    seen = watch().start(qtbot)
    for path in (file, other_file, file, other_file):
        seen.store.update(path=path)
    seen.settle(qtbot)
    assert [str(c.path) for c in seen.of("opened")] == [other_file]


def test_a_file_becomes_the_store_s_only_when_it_has_opened(qtbot, watch, file, other_file):
    seen = watch(path=file, tensor="conv.weight").start(qtbot)
    seen.preview.open(other_file)
    assert (seen.store.state.path, seen.preview.analysis.shape) == (file, (16, 32, 3, 3))
    seen.settle(qtbot)
    assert (seen.store.state.path, seen.store.state.tensor) == (other_file, "conv.weight")
    assert seen.store.undo_text == "open file"
    assert seen.preview.analysis.metrics == direct(other_file, "conv.weight", QuantSpec()).metrics


def test_a_refused_file_leaves_what_was_open_as_it_was(qtbot, watch, file, tmp_path):
    seen = watch(path=file, tensor="conv.weight").start(qtbot)
    seen.preview.open(str(tmp_path / "gone.safetensors"))
    seen.settle(qtbot)
    assert len(seen.of("refused")) == 1
    assert (seen.store.state.path, seen.store.undo_text) == (file, "")
    assert seen.preview.analysis.spec == QuantSpec()


@pytest.mark.parametrize("order", ["choose, open", "open, choose"])
def test_a_choice_beside_a_file_that_is_refused_is_still_shown(qtbot, watch, file, tmp_path, order):
    seen = watch(path=file, tensor="conv.weight").start(qtbot)
    steps = [
        lambda: seen.store.update(recipe=Recipe.of_weights(INT4)),
        lambda: seen.preview.open(str(tmp_path / "gone.safetensors")),
    ]
    for step in steps if order == "choose, open" else steps[::-1]:
        step()
    seen.settle(qtbot)
    assert len(seen.of("refused")) == 1
    assert seen.preview.analysis.spec == INT4


def test_a_file_that_is_none_is_refused_in_words_and_the_next_one_opens(qtbot, watch, file, tmp_path):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"\xff" * 100)
    seen = watch(path=str(bad)).start(qtbot)
    (failed,) = seen.of("refused")
    assert isinstance(failed.error, UserError)
    assert "bad.safetensors" in failed.message
    assert seen.preview.checkpoint is None
    seen.store.update(path=file)
    seen.settle(qtbot)
    assert seen.preview.analysis is not None


def test_a_file_that_is_missing_is_refused(qtbot, watch, tmp_path):
    (failed,) = watch(path=str(tmp_path / "gone.safetensors")).start(qtbot).of("refused")
    assert isinstance(failed.error, UserError)


def test_a_spec_that_does_not_fit_the_tensor_fails_in_words_and_a_fitting_one_mends_it(qtbot, watch, file):
    seen = watch(path=file, tensor="conv.weight").start(qtbot)
    seen.store.update(recipe=Recipe.of_weights(QuantSpec(granularity=PerChannel(5))))
    seen.settle(qtbot)
    (failed,) = seen.of("failed")
    assert isinstance(failed.error, UserError)
    assert "Axis 5" in failed.message
    assert seen.preview.analysis is None
    seen.store.update(recipe=Recipe.of_weights(QuantSpec(granularity=PerChannel(1))))
    seen.settle(qtbot)
    assert len(seen.preview.analysis.channel_sqnr_db) == 32


def test_a_file_that_shrank_after_it_was_opened_fails_in_words(qtbot, watch, file):
    seen = watch(path=file, tensor="small.weight").start(qtbot)
    Path(file).write_bytes(Path(file).read_bytes()[:-200_000])
    seen.store.update(tensor="wide.weight", recipe=Recipe.of_weights(INT4))
    seen.settle(qtbot)
    (failed,) = seen.of("failed")
    assert isinstance(failed.error, UserError)


def test_a_tensor_without_values_is_shown(qtbot, watch, file):
    seen = watch(path=file, tensor="none.weight").start(qtbot)
    assert seen.of("failed") == []
    assert seen.preview.analysis.shape == (0, 16)
    assert seen.preview.analysis.metrics.n == 0


def test_a_tensor_of_integers_is_refused_by_its_type(qtbot, watch, file):
    seen = watch(path=file, tensor="steps").start(qtbot)
    (failed,) = seen.of("failed")
    assert "int64" in failed.message


@pytest.mark.parametrize("name", ["conv.bias", "head.weight"])
def test_tensors_of_other_types_and_shapes_are_shown(qtbot, watch, file, name):
    seen = watch(path=file, tensor=name).start(qtbot)
    assert seen.preview.analysis.shape == weights(1)[name].shape


def test_a_result_that_is_known_is_shown_at_once(qtbot, watch, file):
    seen = watch(path=file, tensor="conv.weight").start(qtbot)
    first = seen.preview.analysis
    seen.store.update(tensor="wide.weight")
    seen.settle(qtbot)
    seen.told.clear()
    seen.store.update(tensor="conv.weight")
    assert seen.preview.analysis is first
    assert seen.of("analyzed") == [first]


def test_what_the_scan_measured_is_shown_at_once_when_it_is_chosen(qtbot, watch, file):
    seen = watch(path=file, tensor="conv.weight").start(qtbot)
    seen.store.update(tensor="small.weight")
    assert seen.preview.analysis.shape == (8, 16)


def test_another_spec_clears_the_scan_and_makes_it_anew(qtbot, watch, file):
    seen = watch(path=file).start(qtbot)
    before = dict(seen.of("measured"))
    seen.told.clear()
    seen.store.update(recipe=Recipe.of_weights(INT4))
    assert [name for name, _ in seen.told] == ["cleared"]
    seen.settle(qtbot)
    after = dict(seen.of("measured"))
    assert after.keys() == before.keys()
    assert all(after[name] < before[name] for name in after if name != "conv.bias")


def test_a_large_checkpoint_is_not_scanned(qtbot, watch, file, monkeypatch):
    monkeypatch.setattr(scan_module, "SCAN_LIMIT", 1000)
    seen = watch(path=file).start(qtbot)
    assert {name for name, _ in seen.of("measured")} == {"head.weight"}


def test_arrays_that_are_handed_out_cannot_be_written(qtbot, watch, file):
    seen = watch(path=file, tensor="conv.weight").start(qtbot)
    assert not finish(seen.preview.analyses.values("conv.weight")).read(0, 9).flags.writeable


def test_synthetic_tensors_need_no_file(qtbot, watch):
    seen = watch(path="synthetic:laplace,5000,1").start(qtbot)
    assert seen.store.state.tensor == "laplace"
    assert seen.preview.analysis.metrics.n == 5000


def test_closing_in_the_middle_of_the_scan_ends_everything(qtbot, watch):
    seen = watch(path=SAMPLE)
    seen.preview.start()
    qtbot.waitUntil(lambda: len(seen.of("measured")) > 1, timeout=10_000)
    assert seen.preview.close()
    seen.settle(qtbot)


def test_an_undo_while_another_file_opens_stays_with_the_file_that_is_open(qtbot, watch, file, other_file):
    seen = watch(path=file, tensor="conv.weight").start(qtbot)
    seen.store.update(path=other_file)
    seen.store.undo()
    seen.settle(qtbot)
    assert seen.store.state.path == file
    assert str(seen.preview.checkpoint.path) == file
    assert seen.preview.analysis is not None
