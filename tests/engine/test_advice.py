import itertools
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from qexplorer.engine.advice import advise_on, document
from qexplorer.engine.jobs import Job, jobs
from qexplorer.engine.runs.results import Latency, Row, RunResult
from qexplorer.errors import UserError
from qexplorer.settings import write
from tests import results


def a_result(job: str, *rows: Row, **parts: Any) -> RunResult:
    fp32 = Row("fp32", "REAL", "float", 1, 1, 0.9, (0.8, 1.0), 1.0, 100, 0, latency(1.0, 10.0), 1)
    if job == "qat":
        parts = {"findings": {"training_memory": None}, **parts}
    return results.a_result(job, fp32, *rows, **parts)


def latency(one: float, many: float) -> dict[str, Latency]:
    return {b: Latency(ms, ms, ms) for b, ms in (("1", one), ("64", many))}


def an_epoch(place: int, *, best: bool) -> dict[str, Any]:
    return {"epoch": place, "loss": 1.0, "train_top1": 0.5, "validation_top1": 0.5, "best": best}


def points_of(*changes: float) -> list[dict[str, Any]]:
    """Points at 8, 16 … samples whose ranges change by so much."""
    return [{"samples": 8 << i, "top1": 0.9, "range_change": change} for i, change in enumerate(changes)]


def a_row(top1: float, kind: str = "SIMULATED", engine: str = "cpu", ms: tuple[float, float] = (1.0, 10.0)) -> Row:
    return Row("row", kind, engine, 1, 1, top1, (0.0, 1.0), 1.0, 100, 1, latency(*ms), 1)


def test_a_drop_by_plain_rounding_is_to_be_repaired_and_then_trained() -> None:
    spec = {"weight_spec": "int4 channel:0", "average_bits": 4.0, "folded": 52, "repairs": []}
    (repair,) = advise_on(a_result("weight-only", a_row(0.7), spec=spec))
    assert repair.sentence == "row loses 20.0 points of top-1 by its weights at 4.0 bits, rounded to nearest."
    assert repair.remedy == "Repair: Cross-layer equalization, MSE clipping, AdaRound, Bias correction"
    assert repair.settings["repairs"] == "fold,cle,mse_clip,adaround:500,bias_correction"
    spec = {"weight_spec": "int3", "average_bits": 3.0, "repairs": ["adaround:500"]}
    (train,) = advise_on(a_result("weight-only", a_row(0.7), spec=spec))
    assert (train.job, train.settings["start"]) == ("qat", "ptq")
    done = replace(a_result("weight-only", a_row(0.7), spec=spec), run_id="20260101-weight-only")
    assert advise_on(done)[0].settings["start"] == done.run_id
    assert advise_on(a_result("weight-only", a_row(0.899), spec={"average_bits": 4.0, "repairs": []})) == []


def test_a_drop_that_may_be_chance_is_not_blamed_on_anything() -> None:
    row = replace(a_row(0.88), n=50, flips=1)
    spec = {"weight_spec": "int4", "limit": 50}
    (advice,) = advise_on(a_result("weight-only", row, spec=spec))
    assert advice.sentence == ("row is 2.0 points below the float model on 50 samples, which may be chance "
                               "(McNemar: p up to 1).")  # fmt: skip
    assert advice.settings == {"limit": 0}
    assert advise_on(a_result("weight-only", row, spec={**spec, "limit": 0})) == []
    sure = replace(a_row(0.80), flips=10)  # of as many flips the drop is all
    assert "loses 10.0 points" in advise_on(a_result("weight-only", sure, spec=spec))[0].sentence
    unsure = replace(a_row(0.80), flips=60)  # 35 wrong and 25 right would be no wonder
    assert "may be chance" in advise_on(a_result("weight-only", unsure, spec=spec))[0].sentence


def layers_of(weights: float, outputs: float | None, row: str = "row") -> list[dict[str, Any]]:
    """Ten layers alike, with these SQNRs in dB."""
    figure = {"row": row, "spec": "x", "weight_sqnr_db": weights}
    return [{**figure, "name": f"l{i}", **({} if outputs is None else {"output_sqnr_db": outputs})} for i in range(10)]


@pytest.mark.parametrize(
    ("weights", "activations", "layers", "cause", "settings"),
    [
        ("int8 channel:0", "uint2 affine", layers_of(46.2, -0.6),
         "by its activations (uint2 affine): weights keep 46.2 dB.", {"activation_spec": "uint8 affine mse"}),
        ("int4 channel:0 mse", "uint2 affine", layers_of(21.8, -0.6), "by its activations (uint2 affine)",
         {"activation_spec": "uint8 affine mse"}),
        ("int8", "uint8 affine", layers_of(46.0, 5.0), "by its activations (uint8 affine)",
         {"activation_spec": "uint8 affine mse"}),
        ("int8", "uint8 affine mse", layers_of(46.0, 5.0), "by its activations", {"epochs": 3, "start": "ptq"}),
        ("float", "uint3 affine", [], "by its activations (uint3 affine).", {"activation_spec": "uint8 affine mse"}),
        ("int2 channel:0", "uint8 affine", layers_of(7.4, 3.0), "by its weights at 2.0 bits",
         {"repairs": "fold,mse_clip,gptq,bias_correction"}),
        ("int4 channel:0", "uint4 affine", layers_of(21.0, 11.1), "its weights (int4 channel:0) or its activations",
         {"activation_spec": "float", "overrides": ""}),
        ("int2 channel:0", "uint2 affine", layers_of(8.8, -0.4), "its weights (int2 channel:0) or its activations",
         {"activation_spec": "float", "overrides": ""}),
        ("int4 channel:0", "uint4 affine", [], "its weights (int4 channel:0) or its activations",
         {"activation_spec": "float", "overrides": ""}),
        ("int8 channel:0", "uint2 affine", layers_of(46.2, None), "by its activations",
         {"activation_spec": "uint8 affine mse"}),
    ],
)  # fmt: skip
def test_what_costs_accuracy_is_named_as_far_as_the_run_knows(
    weights: str, activations: str, layers: list[dict[str, Any]], cause: str, settings: dict[str, Any]
) -> None:
    spec = {"weight_spec": weights, "activation_spec": activations, "preset": "none", "repairs": ["fold"]}
    advice = advise_on(a_result("ptq-static", a_row(0.2), spec=spec, layers=layers))[0]
    assert advice.sentence.startswith("row loses 70.0 points of top-1")
    assert cause in advice.sentence
    assert advice.settings == settings


def test_training_that_leaves_a_drop_goes_on_longer_or_at_a_smaller_rate() -> None:
    epochs = [an_epoch(0, best=False), an_epoch(1, best=True)]
    (more,) = advise_on(a_result("qat", a_row(0.5), history=epochs, spec={"rate": 5e-4}))
    assert "still loses 40.0 points" in more.sentence
    assert more.settings == {"epochs": 4}
    (slower,) = advise_on(a_result("qat", a_row(0.5), history=epochs[::-1], spec={"rate": 5e-4}))
    assert slower.settings == {"rate": 5e-5}
    assert advise_on(a_result("qat", a_row(0.89), history=epochs)) == []


def test_training_from_float_that_leaves_a_drop_starts_from_repaired_weights() -> None:
    spec = {"rate": 5e-4, "start": "float", "weight_spec": "int3 channel:0 mse", "activation_spec": "uint8 affine mse"}
    (repaired,) = advise_on(a_result("qat", a_row(0.5), spec=spec))
    assert "still loses 40.0 points of top-1, and it started from weights that were rounded" in repaired.sentence
    assert repaired.settings == {"start": "ptq", "repairs": "fold,mse_clip,gptq,bias_correction"}
    for other in ({"start": "ptq"}, {"weight_spec": "float"}):
        (slower,) = advise_on(a_result("qat", a_row(0.5), spec={**spec, **other}))
        assert slower.settings == {"rate": 5e-5}


FORMATS = ("int8 channel:0", "int8", "int4 group:32", "int2 channel:0 stochastic:1", "uint4 affine hqq", "nf4 group:64",
           "mxfp4", "nvfp4", "fp4_e2m1 channel:0", "fp8_e4m3fn channel:0", "ternary", "binary", "kmeans", "q4_0",
           "float")  # fmt: skip
READS = ("float", "uint8 affine mse", "uint2 affine", "mxfp8_e4m3")
RUNS = ("weight-only", "ptq-static", "ptq-dynamic", "sensitivity", "convergence", "qat", "bit-budget", "cast", "repair")
DONE = {"cast": {"kept": []}, "ptq-dynamic": {"dynamic": {"weights": "int8", "activations": "uint8"}}}
"""What the results of these jobs say of themselves."""
KERNELS = ("ptq-static", "ptq-dynamic", "qat", "cast")
SIMULATIONS = ("weight-only", "ptq-static", "ptq-dynamic")
LAYERS = [{"name": "head", "output_error": 9.0}, {"name": "b", "output_error": 0.1}, {"name": "c", "output_error": 0.1}]
SHIFTED = [{"name": "head", "row": "row", "mean_shift": 0.9, "output_sqnr_db": 1.0, "weight_sqnr_db": 9.0}]


def a_job(name: str, weights: str, reads: str, steps: str) -> Job | None:
    """A job with these settings, where it takes them."""
    own = {"weight_spec": weights, "activation_spec": reads, "repairs": steps}
    if name == "ptq-static":
        own["preset"] = "none"
    if name == "cast":
        own = {"to": "fp8_e5m2"}
    with suppress(UserError):
        return jobs[name](model="vit_digits", limit=50, **own)
    return None


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("weights", FORMATS)
def test_every_remedy_is_a_job_that_can_be_started_and_is_another_than_the_run(name: str, weights: str) -> None:
    history = {"qat": [an_epoch(0, best=True)], "convergence": points_of(0.3, 0.0)}.get(name, [])
    layers = SHIFTED if name in SIMULATIONS else LAYERS if name == "sensitivity" else []
    for reads, drop, norms, steps in itertools.product(READS, (0.02, 0.8), (0, 9), ("", "fold,gptq", "hqq")):
        job = a_job(name, weights, reads, steps)
        if job is None:
            continue
        own = write(job)
        spec = {**own, "folded": norms, "average_bits": 4.0, **DONE.get(name, {})}
        lost = drop if name in KERNELS else 0.0
        kernels = replace(a_row(0.9 - lost, "REAL", "x86", (1.2, 12.0)), name="pytorch_default", flips=90)
        rows = (replace(a_row(0.9 - drop), flips=90), kernels)
        result = a_result(name, *rows, spec=spec, layers=layers, history=history)
        for advice in advise_on(replace(result, versions={"isa": "avx2"})):
            assert bool(advice.remedy) == bool(advice.job)
            if advice.job:
                after = advice.next_job(own)
                after.check()
                assert after != job


PRESETS = {"presets": {"pytorch_default": {"weights": "int8 per tensor", "activations": "uint8 per tensor"}}}


@pytest.mark.parametrize(
    ("job", "name", "spec", "job_that_helps", "settings"),
    [
        ("ptq-static", "pytorch_default", PRESETS, "ptq-static", {"preset": "x86"}),
        ("ptq-static", "x86", {}, "sensitivity", {"weight_spec": "int8 channel"}),
        ("ptq-dynamic", "dynamic_int8", DONE["ptq-dynamic"], "sensitivity", {"activation_spec": "uint8 affine mse"}),
        ("parity", "pytorch_default", {}, "parity", {"preset": "x86"}),
        ("cast", "fp16", {"to": "fp16", "keep": "", "kept": []}, "cast", {"keep": "first,last,auto:3"}),
        ("qat", "qat-int8", {}, "", {}),
    ],
)
def test_real_kernels_that_lose_get_advice_as_simulations_do(
    job: str, name: str, spec: dict[str, Any], job_that_helps: str, settings: dict[str, Any]
) -> None:
    real = replace(a_row(0.7, "REAL", "x86", (0.4, 4.0)), name=name, flips=20)
    result = a_result(job, a_row(0.9), real, spec=spec, versions={"isa": "avx2"})
    (advice,) = advise_on(result)
    assert advice.sentence.startswith(f"{name} loses 20.0 points of top-1")
    assert (advice.job, advice.rows) == (job_that_helps, (name,))
    assert settings.items() <= advice.settings.items()
    if advice.job:
        jobs[advice.job](**advice.settings)


def test_what_helps_a_simulation_and_its_kernels_alike_is_said_once() -> None:
    rows = [
        replace(a_row(0.7, kind, ms=(0.4, 4.0)), name=name)
        for kind, name in (("SIMULATED", "qat"), ("REAL", "qat-int8"))
    ]
    result = a_result("qat", *rows, history=[an_epoch(0, best=False), an_epoch(1, best=True)], spec={"rate": 5e-4})
    (advice,) = advise_on(result)
    assert advice.rows == ("qat", "qat-int8")
    assert advice.settings == {"epochs": 4}
    assert "qat still loses 20.0 points" in advice.sentence
    assert "qat-int8 still loses 20.0 points" in advice.sentence


def test_advice_stands_in_the_json_of_a_run_and_of_its_rows() -> None:
    lossy, fine = replace(a_row(0.7, "REAL", "x86", (0.4, 4.0)), name="x86"), replace(a_row(0.9), name="w8a8")
    result = a_result("ptq-static", lossy, fine, spec={"weight_spec": "int8"})
    told = json.loads(json.dumps(document(result)))
    (advice,) = told["advice"]
    assert (advice["job"], advice["rows"]) == ("sensitivity", ["x86"])
    assert advice["sentence"].startswith("x86 loses 20.0 points of top-1")
    assert [row["advice"] for row in told["rows"]] == [[], [advice], []]
    assert RunResult.from_json(json.dumps(told)) == result


def test_no_remedy_gives_a_layer_what_it_has_or_quantizes_nothing() -> None:
    spec = {"weight_spec": "int8", "activation_spec": "float", "overrides": "b=int4"}
    (advice,) = advise_on(a_result("sensitivity", layers=LAYERS, spec=spec))
    assert (advice.remedy, advice.settings["overrides"]) == ("Leave this layer float", "b=int4; head=float")
    spec = {"weight_spec": "float", "activation_spec": "uint4 affine"}
    (advice,) = advise_on(a_result("sensitivity", layers=LAYERS, spec=spec))
    assert (advice.job, advice.settings) == (
        "ptq-static", {"preset": "none", "overrides": "head=float / uint8 affine mse"})  # fmt: skip


def test_one_layer_that_makes_most_of_the_error_gets_more_bits() -> None:
    layers = [{"name": n, "output_error": e} for n, e in (("a", 0.5), ("b", 0.01), ("c", 0.01))]
    found = advise_on(a_result("sensitivity", layers=layers, spec={"weight_spec": "int4"}))
    assert found[0].settings["overrides"] == "a=int8 channel"
    assert "96%" in found[0].sentence


def test_ranges_that_still_change_want_more_samples() -> None:
    points = points_of(0.3, 0.0)
    (advice,) = advise_on(a_result("convergence", history=points))
    assert advice.settings == {"calibration": 32}
    data = {"name": "d", "sha256": "", "calibration_n": 16, "train_n": 20}
    (advice,) = advise_on(a_result("convergence", history=points, data=data))
    assert advice.settings == {"calibration": 20}
    (advice,) = advise_on(a_result("convergence", history=points, data={**data, "train_n": 16}))
    assert (advice.remedy, advice.job) == ("", "")


def test_a_shift_of_means_in_a_coarse_layer_is_to_be_corrected() -> None:
    layers = [{"name": "a", "output_sqnr_db": 8.0, "mean_shift": 0.45}, {"name": "b", "output_sqnr_db": 9.0,
              "mean_shift": 0.35}, {"name": "fine", "output_sqnr_db": 40.0, "mean_shift": 0.9},
              {"name": "c", "output_sqnr_db": "-inf"}]  # fmt: skip
    row = a_row(0.9)
    (advice,) = advise_on(a_result("weight-only", row, layers=layers, spec={"repairs": ["fold"]}))
    assert advice.settings["repairs"] == "fold,bias_correction"
    assert "45% of the error of a; in 2 layers" in advice.sentence
    jobs[advice.job](**advice.settings)
    assert advise_on(a_result("weight-only", row, layers=layers, spec={"repairs": ["bias_correction"]})) == []
    kept = [{**layer, "spec": "float / uint4 affine"} for layer in layers]  # their biases are not corrected
    assert advise_on(a_result("ptq-static", row, layers=kept, spec={"repairs": ["fold"]})) == []
    trials = [{**layer, "layer": "head"} for layer in layers]
    assert advise_on(a_result("repair", layers=trials, spec={"repairs": "fold"})) == []
    assert advise_on(a_result("weight-only", row, layers=layers[2:], spec={"repairs": ["fold"]})) == []
