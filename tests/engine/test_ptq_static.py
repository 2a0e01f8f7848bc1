import dataclasses
import errno
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qexplorer.engine.backends import backends, choose_engine
from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.evaluate import Evaluate
from qexplorer.engine.jobs.ptq_static import PtqStatic
from qexplorer.engine.jobs.record import recorded
from qexplorer.engine.measuring import latency
from qexplorer.engine.models import models
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import RunResult
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, finish
from qexplorer.settings import schema

QUICK = PtqStatic(preset="pytorch_default", calibration=16, limit=8, threads=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, list[Progress]]:
    """Both presets on all test samples, recorded once for the tests that read it."""
    reports: list[Progress] = []
    history = History(tmp_path_factory.mktemp("whole") / "history.sqlite3")
    return finish(recorded(PtqStatic(), history), reports.append), reports


@pytest.fixture
def torch_state() -> Iterator[None]:
    """Two threads and another engine than the job's; checks that all of it is put back."""
    engines = torch.backends.quantized.supported_engines
    before = torch.get_num_threads(), torch.backends.quantized.engine
    other = next(name for name in engines if name not in (choose_engine("auto"), "none"))
    torch.set_num_threads(2)
    torch.backends.quantized.engine = other
    numbers = torch.random.get_rng_state()
    yield
    assert torch.get_num_threads() == 2
    assert torch.backends.quantized.engine == other
    assert torch.equal(numbers, torch.random.get_rng_state())
    torch.set_num_threads(before[0])
    torch.backends.quantized.engine = before[1]


def test_int8_is_a_quarter_of_the_size(whole: tuple[RunResult, list[Progress]]) -> None:
    fp32, per_tensor, per_channel = whole[0].rows
    assert fp32.bytes_on_disk == pytest.approx(9.2e6, rel=0.02)
    assert per_tensor.bytes_on_disk == pytest.approx(2.35e6, rel=0.02)
    assert per_channel.bytes_on_disk == pytest.approx(2.65e6, rel=0.02)
    for row in (fp32, per_tensor, per_channel):  # torch keeps a channel's scale and zero point in 64 bits each
        assert 0.88 * row.bytes_on_disk < row.bytes_theoretical < row.bytes_on_disk


def test_the_theoretical_size_counts_symmetric_weights_with_scales_only(
    whole: tuple[RunResult, list[Progress]],
) -> None:
    _, per_tensor, per_channel = whole[0].rows
    shapes = [layer.shape for layer in whole[0].layers if layer.row == "x86"]
    codes, channels = sum(map(math.prod, shapes)), sum(shape[0] for shape in shapes)
    activations = len(shapes) + 10 + 2  # each layer's output, each sum's, the pool's and the input
    rest = 4 * channels + (4 + 1) * activations  # float32 biases
    assert per_tensor.bytes_theoretical == codes + 4 * len(shapes) + rest
    assert per_channel.bytes_theoretical == codes + 4 * channels + rest


def test_the_float_model_is_timed_in_its_fastest_form_and_measured_as_given(
    whole: tuple[RunResult, list[Progress]],
) -> None:
    fp32 = whole[0].rows[0]
    assert fp32.note == "Timed as a fused, channels-last copy with the same outputs."
    timing = whole[0].spec.float_timing
    assert timing.form == "fused, channels-last"
    assert timing.max_difference <= 1e-4
    assert timing.compared_n == 64
    state = finish(models["mobilenet_v2_digits"]().load(None)).state_dict()  # batch norm and all
    assert fp32.bytes_theoretical == sum(t.numel() * t.element_size() for t in state.values())


def test_int8_is_within_a_point_of_the_float_model(whole: tuple[RunResult, list[Progress]]) -> None:
    fp32, *converted = whole[0].rows
    assert fp32.n == 360
    assert fp32.top1 >= 0.98
    assert fp32.flips == 0
    for row in converted:
        assert abs(row.top1 - fp32.top1) <= 0.01
        assert abs(row.top5 - fp32.top5) <= 0.01
        assert row.flips <= 0.02 * row.n
        assert row.top1_ci95[0] < row.top1 <= row.top1_ci95[1]


def test_every_model_is_timed_at_both_batches_with_the_same_threads(whole: tuple[RunResult, list[Progress]]) -> None:
    for row in whole[0].rows:
        assert row.threads == whole[0].rows[0].threads >= 1
        assert set(row.latency_ms) == {"1", "64"}
        for timing in row.latency_ms.values():
            assert 0 < timing.p05 <= timing.median <= timing.p95
            assert timing.runs >= 5


def test_the_files_are_the_int8_weights(whole: tuple[RunResult, list[Progress]]) -> None:
    assert whole[0].rows[0].artifact is None
    for row in whole[0].rows[1:]:
        assert row.artifact is not None
        assert Path(row.artifact).stat().st_size == row.bytes_on_disk
    assert whole[0].artifact is not None
    assert sorted(p.name for p in Path(whole[0].artifact).iterdir()) == ["pytorch_default.pt", "x86.pt"]


def test_the_result_says_what_it_depends_on(whole: tuple[RunResult, list[Progress]]) -> None:
    result = json.loads(whole[0].to_json())
    assert result["model"]["params"] == 2_236_106
    assert result["data"].items() >= {"name": "digits", "train_n": 1437, "calibration_n": 320, "test_n": 360}.items()
    assert result["rows"][1]["kind"] == "REAL"
    assert result["rows"][1]["engine"] == result["spec"]["engine"]
    assert result["rows"][1]["threads"] == result["spec"]["threads"] >= 1
    default, x86 = result["spec"]["presets"]["pytorch_default"], result["spec"]["presets"]["x86"]
    assert default["weights"]["observer"] == "MinMaxObserver"
    assert x86["weights"]["scheme"] == "per_channel_symmetric"
    assert x86["activations"]["observer"] == "HistogramObserver"


def test_every_layer_has_the_error_of_its_weights(whole: tuple[RunResult, list[Progress]]) -> None:
    by_row = {
        name: {layer.name: layer.weight_sqnr_db for layer in whole[0].layers if layer.row == name}
        for name in ("pytorch_default", "x86")
    }
    assert len(by_row["x86"]) == 53
    assert by_row["x86"].keys() == by_row["pytorch_default"].keys()
    assert all(20 < db < 70 for db in by_row["pytorch_default"].values())
    better = [name for name, db in by_row["x86"].items() if db > by_row["pytorch_default"][name]]
    assert len(better) > 0.9 * 53


def test_the_fraction_rises_to_the_end(whole: tuple[RunResult, list[Progress]]) -> None:
    fractions = [step.fraction or 0.0 for step in whole[1]]
    assert fractions == sorted(fractions)
    assert fractions[-1] > 0.95


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")  # torch's own, on any quantized tensor
@pytest.mark.usefixtures("torch_state")
def test_the_same_seed_gives_the_same_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "MOST", 2)
    monkeypatch.setattr(latency, "FEWEST", 2)
    for name in ("a", "b"):
        finish(QUICK.run(tmp_path / name))
    first, second = (torch.load(tmp_path / name / "pytorch_default.pt", weights_only=True) for name in ("a", "b"))
    assert first.keys() == second.keys()
    assert [n for n, v in first.items() if isinstance(v, torch.Tensor) and not torch.equal(v, second[n])] == []


PHASES = (
    "Starting torch",
    "Reading",
    "Evaluating",
    "Preparing the float",
    "Calibrating",
    "Converting",
    "Timing batch 64",
)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.usefixtures("torch_state")
def test_a_cancel_in_any_phase_leaves_nothing_behind(history: History, phase: str) -> None:
    steps = recorded(QUICK, history)
    while not next(steps).phase.startswith(phase):
        pass
    steps.close()
    (run,) = history.runs()
    assert run.status == "cancelled"
    assert not history.folder(run.run_id).exists()


@pytest.mark.usefixtures("torch_state")
def test_a_full_disk_is_told_and_leaves_nothing_behind(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match=r"fp32\.pt could not be written.*Free some space"):
        finish(recorded(QUICK, history))
    (run,) = history.runs()
    assert run.status == "failed"
    assert not history.folder(run.run_id).exists()


def test_a_run_without_a_folder_keeps_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(latency, "MOST", 2)
    result = finish(QUICK.run())
    assert result.artifact is None
    assert result.rows[1].artifact is None
    assert result.rows[1].bytes_on_disk > 2_000_000
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"model": "resnet"}, "model"),
        ({"preset": "best"}, "preset"),
        ({"calibration": 0}, "calibration"),
        ({"limit": -1}, "limit"),
        ({"threads": -1}, "threads"),
        ({"threads": 100_000}, "threads"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(settings: dict[str, object], field: str) -> None:
    with pytest.raises(UserError) as caught:
        dataclasses.replace(QUICK, **settings).check()
    assert caught.value.field == field


def test_evaluate_measures_the_float_model_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "MOST", 2)
    result = finish(Evaluate(limit=16, threads=1).run(tmp_path / "run"))
    assert [row.name for row in result.rows] == ["fp32"]
    assert result.rows[0].n == 16
    assert result.rows[0].note == "Timed as a fused, channels-last copy with the same outputs."
    assert result.artifact is None
    assert not any((tmp_path / "run").iterdir())


def test_it_is_the_copy_that_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: dict[str, torch.nn.Module] = {}

    def spy(modules: dict[str, torch.nn.Module], *rest: Any) -> Steps[Any]:
        timed.update(modules)
        return (yield from latency.measure_latency(modules, *rest))

    monkeypatch.setattr(latency, "MOST", 2)
    monkeypatch.setattr("qexplorer.engine.jobs.model_job.measure_latency", spy)
    finish(Evaluate(limit=8, threads=1).run())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in timed["fp32"].modules())
    convolutions = [m for m in timed["fp32"].modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 52
    assert all(c.weight.is_contiguous(memory_format=torch.channels_last) for c in convolutions)


def test_the_backend_says_whether_its_kernels_are_real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "MOST", 2)
    monkeypatch.setattr(backends["graph_mode"], "kind", "SIMULATED")
    result = finish(QUICK.run())
    assert [row.kind for row in result.rows] == ["REAL", "SIMULATED"]


def test_an_evaluation_leaves_no_empty_folder(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "MOST", 2)
    result = finish(recorded(Evaluate(limit=8, threads=1), history))
    assert history.get(result.run_id).status == "done"
    assert not history.folder(result.run_id).exists()


def test_every_setting_says_what_it_is() -> None:
    for job in jobs:
        for each in schema(job):
            assert each.title
            assert each.help


def test_an_engine_that_is_not_supported_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.engine.backends.supported_engines", lambda: ["onednn"])
    assert choose_engine("auto") == "onednn"
    with pytest.raises(UserError, match=r"fbgemm is not supported here: it needs .* AVX2.*Supported here: onednn"):
        choose_engine("fbgemm")
    with pytest.raises(UserError, match="There is no engine “cuda”"):
        choose_engine("cuda")


def test_a_model_that_cannot_be_traced_is_refused() -> None:
    class Branching(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    batches = [np.zeros((1, 1, 4, 4), np.float32)]
    with pytest.raises(UserError, match="cannot be traced"):
        finish(backends["graph_mode"]().quantize(Branching(), "x86", batches))


def test_quantizing_leaves_the_float_model_as_it_is() -> None:
    net = finish(models["mobilenet_v2_digits"]().load(None))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    batches = [np.zeros((2, 1, 32, 32), np.float32)]
    finish(backends["graph_mode"]().quantize(net, "x86", batches))
    assert net.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
