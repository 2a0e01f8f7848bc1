"""Every job on a small real model, and what each of them promises."""

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.knapsack import front
from qexplorer.engine.jobs.record import recorded, resumed
from qexplorer.engine.models import models
from qexplorer.engine.models.trust import trust
from qexplorer.engine.qat.train import Trainer
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.journal import Journal
from qexplorer.engine.runs.results import RunResult
from qexplorer.engine.simulation.one_at_a_time import outputs_with_swaps
from qexplorer.engine.simulation.prepared import Prepared, prepare
from qexplorer.engine.simulation.simulate import Plan, simulate
from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.quant.recipe import Recipe

SMALL: dict[str, Any] = {"model": "vit_digits", "limit": 48, "threads": 1, "timing": "off"}
QUICK = {
    "ptq-static": {"calibration": 32, "weight_spec": "int4 channel:0", "activation_spec": "uint8 affine"},
    "ptq-dynamic": {"calibration": 32},
    "weight-only": {"weight_spec": "int4 group:32", "repairs": "fold,mse_clip,gptq", "calibration": 32},
    "cast": {"keep": "auto:1", "calibration": 32},
    "evaluate": {},
    "qat": {"epochs": 1, "weight_spec": "int8 channel:0", "activation_spec": "uint8 affine", "calibration": 32},
    "sensitivity": {"modes": "both", "calibration": 32},
    "bit-budget": {"calibration": 32, "checked": 2, "widths": "2,4,8"},
    "repair": {"layer": "blocks.0.attention.qkv", "calibration": 32},
    "parity": {"calibration": 32, "compared": 8},
    "convergence": {"calibration": 32},
}
KINDS = {
    "ptq-static": ["REAL", "REAL", "REAL", "SIMULATED"],
    "ptq-dynamic": ["REAL", "REAL", "SIMULATED"],
    "weight-only": ["REAL", "SIMULATED"],
    "cast": ["REAL", "REAL"],
    "evaluate": ["REAL"],
    "qat": ["REAL", "SIMULATED", "REAL"],
    "sensitivity": ["REAL", "SIMULATED"],
    "bit-budget": ["REAL", "SIMULATED"],
    "repair": ["REAL"],
    "parity": ["REAL", "REAL"],
    "convergence": ["REAL", "SIMULATED"],
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunResult]:
    """Each job once, recorded."""
    history = History(tmp_path_factory.mktemp("jobs") / "history.sqlite3")
    return {name: finish(recorded(jobs[name](**{**SMALL, **own}), history)) for name, own in QUICK.items()}


@pytest.fixture(scope="module")
def vit() -> torch.nn.Module:
    model = models["vit_digits"]()
    return finish(model.load(model.resolve(None)))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand((6, 1, 32, 32), generator=torch.Generator().manual_seed(0))


def test_every_job_is_tried_here() -> None:
    assert set(QUICK) == {job.name for job in jobs}


@pytest.mark.parametrize("name", QUICK)
def test_a_job_says_of_each_row_whether_it_is_real(results: dict[str, RunResult], name: str) -> None:
    result = results[name]
    assert [row.kind for row in result.rows] == KINDS[name]
    assert result.rows[0].name == "fp32"
    assert RunResult.from_json(result.to_json()) == result
    for row in result.rows:
        assert row.n == 48
        assert row.top1_ci95[0] <= row.top1 <= row.top1_ci95[1]
        assert row.bytes_theoretical > 0
        assert row.bytes_on_disk > 0


def test_layers_of_a_vision_transformer_that_do_not_trace_are_none(results: dict[str, RunResult]) -> None:
    assert results["weight-only"].spec.traced is True
    assert len(results["weight-only"].layers) == 18


def test_sensitivity_gives_the_numbers_of_whole_evaluations(vit: torch.nn.Module, images: torch.Tensor) -> None:
    prepared = prepare(vit, images)
    made = finish(simulate(prepared, Plan(Recipe.parse("int3 channel:0", "", ""))))
    found = dict(outputs_with_swaps(made.float_model, made.model, images, list(prepared.layers)))
    assert set(found) == set(prepared.layers)
    for name, outputs in found.items():
        whole = made.float_model.copy()
        whole.layers[name].weight = made.model.layers[name].weight
        with torch.no_grad():
            assert torch.equal(outputs, whole.module(images))


def test_a_model_that_does_not_trace_gives_the_same_sensitivities(vit: torch.nn.Module, images: torch.Tensor) -> None:
    prepared = prepare(vit, images)
    made = finish(simulate(prepared, Plan(Recipe.parse("int3 channel:0", "", ""))))
    plain = [Prepared(m.module, m.layers, traced=False) for m in (made.float_model, made.model)]
    names = list(prepared.layers)[:4]
    traced = dict(outputs_with_swaps(made.float_model, made.model, images, names))
    hooked = dict(outputs_with_swaps(*plain, images, names))
    assert all(torch.equal(traced[name], hooked[name]) for name in names)


def test_sensitivity_ranks_by_the_error_of_the_output(results: dict[str, RunResult]) -> None:
    layers = results["sensitivity"].layers
    errors = [layer.output_error for layer in layers]
    assert errors == sorted(errors, reverse=True)
    assert len(layers) == 18
    for layer in layers:
        assert None not in (layer.local_sqnr_db, layer.cumulative_sqnr_db, layer.flips, layer.top1)
        assert None not in (layer.rest_top1, layer.rest_flips)


def test_the_knapsack_is_that_of_brute_force() -> None:
    random = np.random.default_rng(0)
    sizes = [sorted(random.integers(1, 40, 3).tolist()) for _ in range(6)]
    errors = [sorted(random.random(3).tolist(), reverse=True) for _ in range(6)]
    every = [
        (sum(s[k] for s, k in zip(sizes, ks, strict=True)), sum(e[k] for e, k in zip(errors, ks, strict=True)))
        for ks in itertools.product(range(3), repeat=6)
    ]
    best: list[tuple[int, float]] = []
    for size, error in sorted(every):
        if not best or error < best[-1][1] - 1e-12:
            best.append((size, error))
    found = [(choice.size, choice.error) for choice in front(sizes, errors)]
    assert [size for size, _ in found] == [size for size, _ in best]
    assert np.allclose([error for _, error in found], [error for _, error in best])


def test_a_knapsack_of_few_cells_keeps_the_budget() -> None:
    sizes, errors = [[1000, 2000, 3001]] * 5, [[1.0, 0.4, 0.1]] * 5
    for choice in front(sizes, errors, cells=7):
        assert choice.size == sum(sizes[0][k] for k in choice.options)


def test_a_bit_budget_keeps_its_target_and_its_overrides_give_its_row(results: dict[str, RunResult]) -> None:
    result = results["bit-budget"]
    points = result.findings.front
    assert result.spec.average_bits <= 4.0
    assert [p.bytes for p in points] == sorted(p.bytes for p in points)
    assert [p.error for p in points] == sorted((p.error for p in points), reverse=True)
    assert sum(p.top1 is not None for p in points) >= 2
    settings = {**SMALL, "weight_spec": "int4 channel:0 mse", "overrides": result.findings.overrides}
    again = finish(jobs["weight-only"](**settings).run())
    assert again.rows[1].top1 == result.rows[1].top1
    assert again.spec.average_bits == pytest.approx(result.spec.average_bits)


def test_a_locked_layer_keeps_its_bits() -> None:
    settings = {**SMALL, **QUICK["bit-budget"], "overrides": "head=int8 channel:0", "checked": 0}
    result = finish(jobs["bit-budget"](**settings).run())
    assert result.findings.locked == ("head",)
    assert next(layer for layer in result.layers if layer.name == "head").spec == "int8 channel:0"


@pytest.mark.parametrize(("target", "word"), [("4", "not a valid"), ("0 bits", "not a valid"), ("1 bits", "No choice")])
def test_a_target_that_cannot_be_is_refused(target: str, word: str) -> None:
    with pytest.raises(UserError, match=word):
        finish(jobs["bit-budget"](**{**SMALL, **QUICK["bit-budget"], "target": target}).run())


def test_parity_is_within_one_code(results: dict[str, RunResult]) -> None:
    result = results["parity"]
    assert len(result.layers) == 18
    assert result.findings.largest_lsb <= 1
    assert result.findings.equal > 0.99
    assert result.findings.outputs == sum(sum(layer.counts) for layer in result.layers)


def test_an_lstm_becomes_int8_and_is_counted_so(tmp_path: Path) -> None:
    own = tmp_path / "recurrent.py"
    own.write_text(
        "import torch\n\n\nclass Net(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.rnn = torch.nn.LSTM(32, 24, batch_first=True)\n        self.head = torch.nn.Linear(24, 10)\n\n"
        "    def forward(self, x):\n        y, _ = self.rnn(x[:, 0])\n        return self.head(y[:, -1])\n"
    )
    trust(own)
    result = finish(jobs["ptq-dynamic"](**{**SMALL, "model": f"{own}:Net"}).run())
    assert [row.kind for row in result.rows] == ["REAL", "REAL", "SIMULATED"]
    weights, biases = 4 * 24 * (32 + 24) + 240, 4 * (2 * 96 + 10)
    assert result.rows[1].bytes_theoretical == weights + biases + 3 * 5
    assert {layer.name for layer in result.layers if layer.row == "dynamic_int8"} == {"rnn", "head"}


def test_a_cast_to_bfloat16_is_torchs_own(vit: torch.nn.Module) -> None:
    result = finish(jobs["cast"](**{**SMALL, "keep": "", "limit": 0}).run())
    from qexplorer.engine.datasets import open_dataset

    data = finish(open_dataset("digits"))
    own = copy.deepcopy(vit).to(torch.bfloat16)
    with torch.inference_mode():
        right = (own(torch.tensor(data.x_test).to(torch.bfloat16)).float().argmax(1).numpy() == data.y_test).mean()
    assert result.rows[1].top1 == pytest.approx(right, abs=2 / 360)
    assert result.rows[1].bytes_theoretical == pytest.approx(result.rows[0].bytes_theoretical / 2, rel=0.01)


def test_more_samples_settle_the_ranges(results: dict[str, RunResult]) -> None:
    points = results["convergence"].history
    assert [p.samples for p in points] == [8, 16, 32]
    assert points[-1].range_change == 0
    assert points[0].largest_range_change >= points[1].largest_range_change > 0


def test_training_tells_what_it_held_and_how_it_went(results: dict[str, RunResult]) -> None:
    result = results["qat"]
    memory = result.findings.training_memory
    assert memory.on.measured_bytes < memory.off.measured_bytes
    assert memory.on.formula_bytes < memory.off.formula_bytes
    (epoch,) = result.history
    assert epoch.best
    assert np.isfinite(epoch.loss)
    assert len(epoch.scales) == 18


def test_gradient_checkpointing_gives_the_same_weights() -> None:
    settings = {**SMALL, **QUICK["qat"], "limit": 16, "data": "digits"}
    losses = [finish(jobs["qat"](**settings, checkpointing=on).run()).history[0].loss for on in ("off", "on")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_learned_scales_move() -> None:
    settings = {**SMALL, **QUICK["qat"], "method": "lsq", "epochs": 2, "weight_spec": "int4 channel:0"}
    first, second = finish(jobs["qat"](**settings).run()).history
    assert any(first.scales[name] != second.scales[name] for name in first.scales)


@pytest.mark.parametrize("good_steps", [3, 20])
def test_training_that_diverges_is_stopped_and_explained(monkeypatch: pytest.MonkeyPatch, good_steps: int) -> None:
    """In the first epoch there is nothing to keep; in the second one the first is kept."""
    own, steps = Trainer.loss, itertools.count()

    def loss(trainer: Trainer, *args: Any) -> torch.Tensor:
        value = own(trainer, *args)
        return value if next(steps) < good_steps else value * torch.nan

    monkeypatch.setattr(Trainer, "loss", loss)
    job = jobs["qat"](**{**SMALL, **QUICK["qat"], "epochs": 2, "batch": 100, "weight_spec": "int4 channel:0"})
    if good_steps < 12:  # of 12 steps an epoch
        with pytest.raises(UserError, match=r"diverged in epoch 1, step 4 of 12.*Lower the learning rate"):
            finish(job.run())
        return
    result = finish(job.run())
    assert "diverged in epoch 2, step 9 of 12: the loss is nan" in result.findings.stopped
    assert [epoch.best for epoch in result.history] == [True]
    assert result.rows[1].top1 > 0.5


@pytest.mark.parametrize(
    ("name", "settings", "word"),
    [
        ("qat", {"method": "lsq", "weight_spec": "nf4 group:64"}, "LSQ learns the scales of integers"),
        ("weight-only", {"weight_spec": "float"}, "No weights would be quantized"),
        ("weight-only", {"weight_spec": "int4 banana"}, "“banana” is no part of a spec"),
        ("weight-only", {"repairs": "gptq,adaround"}, "each choose the codes"),
        ("weight-only", {"weight_spec": "nf4 group:64", "repairs": "adaround"}, "AdaRound rounds to whole numbers"),
        ("weight-only", {"overrides": "head"}, "not a rule"),
        ("ptq-static", {"preset": "none"}, "nothing to do"),
        ("bit-budget", {"weight_spec": "nf4 group:64"}, "cannot vary"),
        ("qat", {"rate": 0.0}, "learning rate"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(name: str, settings: dict[str, Any], word: str) -> None:
    with pytest.raises(UserError, match=word):
        jobs[name](**settings)


def test_a_layer_or_device_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="No layer is called “nothing”"):
        finish(jobs["weight-only"](**{**SMALL, "overrides": "nothing=int8"}).run())
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match=r"no device “cuda”.*There is: cpu"):
            finish(jobs["evaluate"](**{**SMALL, "device": "cuda"}).run())


@pytest.mark.parametrize("name", ["weight-only", "sensitivity", "qat"])
def test_a_run_that_is_broken_off_goes_on_to_the_same_result(
    tmp_path: Path, results: dict[str, RunResult], name: str
) -> None:
    history = History(tmp_path / "history.sqlite3")
    steps = recorded(jobs[name](**{**SMALL, **QUICK[name]}), history, "it")
    for progress in steps:
        if (progress.fraction or 0) > 0.6:
            break
    steps.close()
    assert history.get("it").status == "cancelled"
    assert history.journal("it").keys("")
    again = finish(resumed("it", history))
    assert _comparable(again) == _comparable(results[name])


def _comparable(result: RunResult) -> dict[str, Any]:
    """All of a result but times and names."""
    values = result.document()
    for key in ("run_id", "seconds", "artifact", "findings"):
        del values[key]
    for row in values["rows"]:
        del row["artifact"]
    return json.loads(json.dumps(values))


def test_calibration_samples_are_those_of_the_seed() -> None:
    chosen = [
        finish(jobs["convergence"](**{**SMALL, **QUICK["convergence"], "seed": s}).run()).spec.chosen for s in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(set(chosen[0])) == 32


def test_a_journal_of_nobody_forgets_nothing_while_it_lives() -> None:
    journal = Journal()
    journal.put_arrays("a", {"x": np.arange(3)})
    found = journal.arrays("a")
    assert found is not None
    assert found["x"].tolist() == [0, 1, 2]
