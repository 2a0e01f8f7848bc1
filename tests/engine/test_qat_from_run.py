"""Training that goes on from a run of PTQ begins with what that run made, and says so; other runs are refused."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from qexplorer.engine.backends import BACKEND
from qexplorer.engine.jobs import Job, jobs
from qexplorer.engine.jobs.record import recorded, resumed
from qexplorer.engine.jobs.simulated_job import SimulatedJob
from qexplorer.engine.jobs.starts import TAKEN, offers
from qexplorer.engine.qat.model import qat_model_from
from qexplorer.engine.repair import parse_repairs
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import RunResult
from qexplorer.engine.simulation.prepared import prepare
from qexplorer.engine.simulation.simulate import Plan, simulate
from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant.recipe import Recipe
from tests.few_digits import few_digits

SMALL: dict[str, Any] = {"model": "vit_digits", "data": few_digits(), "threads": 1, "timing": "off"}
PTQ = {"weight_spec": "int3 channel:0", "activation_spec": "uint4 affine mse", "overrides": "head=int8 / float",
       "repairs": "fold,mse_clip,gptq,bias_correction", "calibration": 48}  # fmt: skip
STILL = {"rate": 1e-30, "epochs": 1, "batch": 512}
"""So small a rate changes no float32 weight."""


@dataclasses.dataclass(frozen=True)
class Done:
    """A history with a run of PTQ."""

    history: History
    run: RunResult


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    history = History(tmp_path_factory.mktemp("starts") / "history.sqlite3")
    return Done(history, finish(recorded(a_job("weight-only", **PTQ, seed=3), history)))


@pytest.fixture(scope="module")
def still(done: Done) -> RunResult:
    """Training that goes on from that run, and learns nothing."""
    return train(done, **STILL)


def a_job(name: str, **settings: Any) -> Job:
    return jobs[name](**{**SMALL, **settings})


def train(done: Done, **settings: Any) -> RunResult:
    return finish(recorded(a_job("qat", **{"start": done.run.run_id, **settings}), done.history))


def like(done: Done, job: str = "weight-only", **changes: Any) -> str:
    """The id of a run with the same result, but for these changes of its job's settings."""
    config = {**SMALL, **PTQ, **changes}
    run_id = done.history.start(job, {k: v for k, v in config.items() if k in fields_of(job)})
    done.history.finish(run_id, done.run.to_json())
    return run_id


def fields_of(job: str) -> set[str]:
    return {f.name for f in dataclasses.fields(jobs[job])}


def convolutions() -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, groups=2, bias=False),
                           nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5))  # fmt: skip
    for norm in (module[1], module[4]):
        nn.init.uniform_(norm.running_var, 0.5, 2.0)  # pyright: ignore[reportArgumentType]
        nn.init.normal_(norm.running_mean)  # pyright: ignore[reportArgumentType]
    return module.eval()


@pytest.mark.parametrize("repairs", ["", "fold", "fold,cle,mse_clip,adaround:40,bias_correction", "gptq"])
@pytest.mark.parametrize(
    ("weights", "activations", "learn"),
    [
        ("int4 channel:0", "uint8 affine", False),
        ("int2 channel:0 mse", "uint4 affine percentile:99", True),
        ("uint3 affine group:16", "float", False),
        ("int4 full_range", "int8 moving_average:0.1", True),
    ],
)
def test_the_model_that_is_trained_computes_what_the_simulation_does(
    repairs: str, weights: str, activations: str, learn: bool
) -> None:
    images = np.random.default_rng(0).standard_normal((24, 1, 8, 8), np.float32)
    steps = parse_repairs(repairs)
    plan = Plan(Recipe.parse(weights, activations, "0=int8"), steps, [images[:12], images[12:]])
    fold = any(step.name == "fold" for step in steps)
    made = finish(simulate(prepare(convolutions(), torch.tensor(images[:2]), fold=fold), plan))
    model = qat_model_from(made, plan, learn=learn)
    model.module.eval()
    with torch.no_grad():
        assert torch.equal(model.module(torch.tensor(images)), made.model.module(torch.tensor(images)))
    assert model.sizes() == (made.bytes_theoretical, made.average_bits)


@pytest.mark.parametrize("weights", ["nf4 group:16", "fp8_e4m3fn channel:0", "mxfp4", "nvfp4", "q4_0", "kmeans"])
def test_formats_of_all_kinds_keep_what_they_have_rounded(weights: str) -> None:
    plan = Plan(Recipe.parse(weights, "", ""))
    made = finish(simulate(prepare(convolutions(), torch.zeros((2, 1, 8, 8))), plan))
    model = qat_model_from(made, plan, learn=False)
    for name, layer in model.layers.items():
        twin: Any = made.model.layers[name]
        assert torch.equal(layer.weight(), twin.weight)


def test_a_rounding_that_does_not_keep_what_it_has_rounded_is_refused() -> None:
    plan = Plan(Recipe.parse("int4 affine channel:0 toward_zero", "", ""))
    made = finish(simulate(prepare(convolutions(), torch.zeros((2, 1, 8, 8))), plan))
    with pytest.raises(UserError, match=r"on their grid .* toward_zero.*half_even"):
        qat_model_from(made, plan, learn=False)


@pytest.mark.parametrize("method", ["ste", "lsq"])
def test_without_learning_every_prediction_is_that_of_the_run(done: Done, still: RunResult, method: str) -> None:
    result = still if method == "ste" else train(done, **STILL, method=method)
    before, after = done.run.rows[-1], result.rows[1]
    own, other = (done.history.predictions(r.run_id)[row.name] for r, row in ((result, after), (done.run, before)))
    assert np.array_equal(own, other)
    figures = ("top1", "top5", "flips", "bytes_theoretical")
    assert [getattr(after, name) for name in figures] == [getattr(before, name) for name in figures]


def test_the_result_names_the_run_and_has_its_specs(done: Done, still: RunResult) -> None:
    result = still
    run_id, before = done.run.run_id, done.run.rows[-1]
    assert result.settings["start"] == run_id
    assert {name: result.settings[name] for name in TAKEN} == PTQ
    assert result.spec.layers == done.run.spec.layers
    assert result.seed == 0  # training has its own
    start = result.findings.start
    assert (start.run_id, start.row, start.top1, start.seed) == (run_id, before.name, before.top1, 3)
    assert f"Trained on from the run {run_id}." in result.rows[1].note
    assert RunResult.from_json(result.to_json()) == result


def test_the_simulation_beside_int8_kernels_is_trained_on_and_becomes_int8(done: Done) -> None:
    settings = {"weight_spec": "int8 channel:0", "activation_spec": "uint8 affine", "calibration": 32, "limit": 64}
    job = a_job("ptq-static", **settings, preset="x86")
    run = finish(recorded(job, done.history))
    result = train(Done(done.history, run), **STILL, limit=64)
    assert [row.kind for row in result.rows] == ["REAL", "SIMULATED", "REAL"]
    own, other = done.history.predictions(result.run_id), done.history.predictions(run.run_id)
    assert np.array_equal(own[result.rows[1].name], other[run.rows[-1].name])


def test_settings_of_ptq_begin_as_a_run_with_them_does(done: Done) -> None:
    result = train(done, **STILL, **PTQ, start="ptq", seed=3, limit=64)
    same = done.history.predictions(done.run.run_id)[done.run.rows[-1].name][:64]
    assert np.array_equal(done.history.predictions(result.run_id)[result.rows[1].name], same)
    assert result.findings.start is None


def test_a_cancelled_training_goes_on_to_the_same_result_even_if_the_first_run_is_gone(done: Done) -> None:
    start = like(done, seed=3)
    settings = {"start": start, "epochs": 3, "limit": 48, "batch": 256, "seed": 7}
    whole = train(done, **settings)
    run_id = done.history.new_id("qat")
    steps = recorded(a_job("qat", **settings), done.history, run_id)
    for _ in steps:
        if done.history.journal(run_id).points():
            steps.close()
    assert done.history.get(run_id).status == "cancelled"
    done.history.delete(start)
    again = finish(resumed(run_id, done.history))
    assert again.history == whole.history
    assert again.findings.start == whole.findings.start
    assert [(r.name, r.top1, r.flips) for r in again.rows] == [(r.name, r.top1, r.flips) for r in whole.rows]


def test_a_run_that_is_not_there_is_refused_and_leaves_nothing(done: Done) -> None:
    before = len(done.history.runs())
    with pytest.raises(UserError, match=r"There is no run “17”.*float, ptq or a run's id") as caught:
        train(done, start="17")
    assert caught.value.field == "start"
    assert len(done.history.runs()) == before


@pytest.mark.parametrize(
    ("job", "changes", "what"),
    [
        ("evaluate", {}, "is of the job evaluate"),
        ("qat", {}, "is of the job qat"),
        ("ptq-dynamic", {}, "ptq-static or weight-only"),
        ("ptq-static", {"weight_spec": "", "activation_spec": "", "overrides": ""}, "no simulation of quantized"),
        ("ptq-static", {"weight_spec": "", "overrides": ""}, "no simulation of quantized weights"),
        ("weight-only", {"model": "mobilenet_v2_digits"}, "of the model mobilenet_v2_digits, not of vit_digits"),
    ],
)
def test_runs_that_training_cannot_go_on_from_are_refused(
    done: Done, job: str, changes: dict[str, Any], what: str
) -> None:
    with pytest.raises(UserError, match=what) as caught:
        train(done, start=like(done, job, **changes))
    assert caught.value.field == "start"
    assert caught.value.remedy


def test_a_run_that_did_not_finish_is_refused(done: Done) -> None:
    run_id = done.history.start("weight-only", {**SMALL, **PTQ})
    for end in (lambda: None, lambda: done.history.cancel(run_id)):
        end()
        with pytest.raises(UserError, match=f"“{run_id}” is (running|cancelled).*finished run"):
            train(done, start=run_id)


@pytest.mark.parametrize(("part", "words"), [("model", "other weights"), ("data", "other data")])
def test_a_run_with_other_weights_or_data_is_refused(done: Done, part: str, words: str) -> None:
    run_id = done.history.start("weight-only", {**SMALL, **PTQ})
    other = dataclasses.replace(done.run, **{part: dataclasses.replace(getattr(done.run, part), sha256="0" * 64)})
    done.history.finish(run_id, other.to_json())
    with pytest.raises(UserError, match=f"“{run_id}” had {words}: SHA-256 0000"):
        train(done, start=run_id)


@pytest.mark.parametrize(("setting", "own"), [("weight_spec", "int8"), ("repairs", ""), ("calibration", 64)])
def test_a_setting_that_contradicts_the_run_is_refused(done: Done, setting: str, own: object) -> None:
    with pytest.raises(UserError, match=f"not “{own}”.*Leave it out") as caught:
        train(done, **{setting: own})
    assert caught.value.field == setting


def test_settings_that_are_those_of_the_run_are_not_in_the_way(done: Done) -> None:
    settled = a_job("qat", **PTQ, start=done.run.run_id).settled(done.history)
    assert {name: getattr(settled, name) for name in TAKEN} == PTQ


def test_learned_scales_are_refused_for_a_run_whose_format_has_none(done: Done) -> None:
    start = like(done, weight_spec="nf4 group:64", repairs="fold", overrides="")
    with pytest.raises(UserError, match="LSQ learns the scales of integers"):
        train(done, start=start, method="lsq")


def test_without_a_history_there_is_no_run_to_start_from(done: Done, tmp_path: Path) -> None:
    job = a_job("qat", start=done.run.run_id)
    with pytest.raises(UserError, match="not known here"):
        finish(job.run(tmp_path))


def test_an_empty_start_is_refused() -> None:
    with pytest.raises(UserError, match="Write float, ptq or"):
        a_job("qat", start=" ")


def test_runs_are_offered_that_fit_the_settings(done: Done) -> None:
    other = like(done, model="mobilenet_v2_digits")
    job = a_job("qat")
    assert isinstance(job, SimulatedJob)
    found = offers(job, done.history)
    assert other not in found
    assert all(done.history.get(run_id).status == "done" for run_id in found)
    line = found[done.run.run_id]
    assert line.startswith(f"{done.run.run_id} · int3 channel:0 / uint4 affine mse · fold,")
    assert line.endswith(f"{100 * done.run.rows[-1].top1:.1f} %")


@pytest.mark.parametrize("written", ["", "float", "fp32"])
def test_the_words_for_no_activation_spec_mean_the_same(tmp_path: Path, written: str) -> None:
    history = History(tmp_path / "history.sqlite3")
    run = finish(recorded(a_job("ptq-static", preset="none", weight_spec="int4", limit=16, calibration=16), history))
    job = a_job("qat", start=run.run_id, activation_spec=written, weight_spec="int4").settled(history)
    assert isinstance(job, SimulatedJob)
    assert job.activation_spec == "float"


def test_what_was_trained_is_kept_where_there_is_no_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise UserError("The layer 0 pads in no way that a kernel does.")

    monkeypatch.setattr(BACKEND, "quantize", refuse)
    specs = {"weight_spec": "int8 channel:0", "activation_spec": "uint8 affine"}
    result = finish(a_job("qat", **STILL, **specs, limit=16, calibration=16).run())
    assert [row.name for row in result.rows] == ["fp32", "qat-w8a8"]
    assert "Not converted to int8 kernels: The layer 0 pads" in result.rows[1].note


@pytest.mark.parametrize(
    ("spec", "says"),
    [("int8 channel:0", "The trained weights;"), ("int8", "The trained weights;"),
     ("int8 full_span", "Weights rounded again, to 48.1 dB or more;")],
)  # fmt: skip
def test_the_weights_in_int8_are_those_that_were_trained_or_it_says_so(spec: str, says: str) -> None:
    job = a_job("qat", **STILL, weight_spec=spec, activation_spec="uint8 affine", limit=16, calibration=16)
    result = finish(job.run())
    assert result.rows[2].note.startswith(says)
