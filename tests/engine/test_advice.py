from dataclasses import replace
from typing import Any

from qexplorer.engine.advice import advise_on
from qexplorer.engine.jobs import jobs
from qexplorer.engine.results import Row, RunResult


def a_result(job: str, *rows: Row, **more: Any) -> RunResult:
    fp32 = Row("fp32", "REAL", "float", 1, 1, 0.9, (0.8, 1.0), 1.0, 100, 0, latency(1.0, 10.0), 1)
    spec = more.pop("spec", {})
    return RunResult("", job, {"name": "m", "sha256": ""}, {"name": "d", "sha256": "", "calibration_n": 0}, 0, spec,
                     {"cpu": "AVX512"}, 1.0, (fp32, *rows), **more)  # fmt: skip


def latency(one: float, many: float) -> dict[str, dict[str, float]]:
    return {b: {"median": ms, "p05": ms, "p95": ms} for b, ms in (("1", one), ("64", many))}


def a_row(top1: float, kind: str = "SIMULATED", engine: str = "cpu", ms: tuple[float, float] = (1.0, 10.0)) -> Row:
    return Row("row", kind, engine, 1, 1, top1, (0.0, 1.0), 1.0, 100, 1, latency(*ms), 1)


def test_a_drop_by_plain_rounding_is_to_be_repaired_and_then_trained() -> None:
    (repair,) = advise_on(a_result("weight-only", a_row(0.7), spec={"average_bits": 4.0, "folded": 52, "repairs": []}))
    assert "20.0 points" in repair.sentence
    jobs[repair.job](**repair.settings)
    spec = {"average_bits": 3.0, "repairs": ["adaround:500"]}
    (train,) = advise_on(a_result("weight-only", a_row(0.7), spec=spec))
    assert (train.job, train.settings["start"]) == ("qat", "ptq")
    done = replace(a_result("weight-only", a_row(0.7), spec=spec), run_id="20260101-weight-only")
    assert advise_on(done)[0].settings["start"] == done.run_id
    assert advise_on(a_result("weight-only", a_row(0.899), spec={"average_bits": 4.0, "repairs": []})) == []


def test_int8_that_is_no_faster_is_explained() -> None:
    (advice,) = advise_on(a_result("ptq-static", a_row(0.9, "REAL", "x86", (1.2, 4.0))))
    assert advice.sentence.startswith("row is no faster at batch 1: with one image")
    assert advise_on(a_result("ptq-static", a_row(0.9, "REAL", "x86", (0.5, 4.0)))) == []
    assert advise_on(a_result("weight-only", a_row(0.9, ms=(9.0, 90.0)))) == []  # a simulation is not timed for speed


def test_one_layer_that_makes_most_of_the_error_gets_more_bits() -> None:
    layers = [{"name": n, "output_error": e} for n, e in (("a", 0.5), ("b", 0.01), ("c", 0.01))]
    found = advise_on(a_result("sensitivity", layers=layers, spec={"weight_spec": "int4"}))
    assert found[0].settings["overrides"] == "a=int8 channel:0"
    assert "96%" in found[0].sentence


def test_ranges_that_still_change_want_more_samples() -> None:
    points = [{"samples": 8, "range_change": 0.3}, {"samples": 16, "range_change": 0.0}]
    (advice,) = advise_on(a_result("convergence", history=points))
    assert advice.settings == {"calibration": 32}


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
    assert advise_on(a_result("repair", layers=layers, spec={"repairs": "fold"})) == []
    assert advise_on(a_result("weight-only", row, layers=layers[2:], spec={"repairs": ["fold"]})) == []
