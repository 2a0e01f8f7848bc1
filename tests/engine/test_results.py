import dataclasses
import json
import math
from typing import Any

import pytest

from qexplorer.engine.runs.curve_points import EpochPoint, SamplesPoint
from qexplorer.engine.runs.findings import (
    CodeAgreement,
    EarlierRun,
    Footprint,
    Front,
    Repaired,
    RepairStep,
    Swaps,
    TrainingFindings,
    TrainingMemory,
)
from qexplorer.engine.runs.layer_figures import LayerFigures
from qexplorer.engine.runs.results import DataFacts, Latency, ModelFacts, Row, RunResult
from qexplorer.engine.runs.run_spec import KernelSpec, RunSpec
from qexplorer.errors import UserError
from qexplorer.presentation import FrontPoint


def row(name: str) -> Row:
    ms = {"1": Latency(4.0, 3.0, 5.0, 9)}
    return Row(name, "REAL", "x86", 10, 20, 0.5, (0.4, 0.6), 1.0, 8, 1, ms, 1, "note", "x.pt")


LAYER = LayerFigures(
    "head", "x86", shape=(10, 4), spec="int8", weight_sqnr_db=math.inf, output_sqnr_db=-math.inf, flips=0
)
RESULT = RunResult("id", "ptq-static", ModelFacts("m"), DataFacts("d", 0), 0, {"preset": "both", "repairs": "fold"},
                   RunSpec("x86", 1, "cpu", repairs=("fold",)), {}, 1.5, (row("fp32"), row("x86")),
                   layers=(LAYER,))  # fmt: skip
FOUND: dict[str, Any] = {
    "nothing": {},
    "front": {"findings": Front((FrontPoint(10, 4.0, 0.1, 0.5, (0.4, 0.6), "a=int4", True),), 0, "a=int4", "4 bits")},
    "codes": {"findings": CodeAgreement(4, 100, 0.99, 1)},
    "swaps": {"findings": Swaps(4, "rest"), "layers": (LayerFigures("a", top1=0.0, top1_ci95=(0.0, 0.1)),)},
    "trials": {"findings": Repaired((RepairStep("GPTQ", note="No."),)), "layers": (LayerFigures("GPTQ", layer="a"),)},
    "epochs": {"history": (EpochPoint(0, 2.0, 0.5, 0.6, (0.5, 0.7), 10, 1e-3, {"a": 0.1}, best=False),),
               "layers": (LayerFigures("a", scale=0.0), LayerFigures("b", scale=0.5)),
               "findings": TrainingFindings(TrainingMemory(8, Footprint(1, 0.5, 2), Footprint(1, 0.5, 2)), "", "worse",
                                            EarlierRun("id", "weight-only", "w4", 0.5, 0, "a", "b"))},
    "samples": {"history": (SamplesPoint(8, 0.5, (0.4, 0.6), 0.25, 0.5), SamplesPoint(16, 0.5)),
                "layers": (LayerFigures("a", errors=()), LayerFigures("b", errors=(0.1, 0.2)))},
}  # fmt: skip


@pytest.mark.parametrize("found", FOUND)
def test_a_result_survives_json(found: str) -> None:
    result = dataclasses.replace(RESULT, **FOUND[found])
    assert RunResult.from_json(result.to_json()) == result


def test_figures_that_a_run_has_not_are_left_out_and_infinite_ones_are_words() -> None:
    (layer,) = json.loads(RESULT.to_json())["layers"]
    assert layer == {"name": "head", "row": "x86", "shape": [10, 4], "spec": "int8", "weight_sqnr_db": "inf",
                     "output_sqnr_db": "-inf", "flips": 0}  # fmt: skip
    other = dataclasses.replace(RESULT, layers=(LayerFigures("a", scale=0.0, errors=()),))
    assert json.loads(other.to_json())["layers"] == [{"name": "a", "scale": None, "errors": None}]


def test_what_was_done_stands_over_what_was_asked_for() -> None:
    document = json.loads(RESULT.to_json())
    assert document["settings"] == {"preset": "both", "repairs": "fold"}
    assert document["spec"] == {"preset": "both", "repairs": ["fold"], "engine": "x86", "threads": 1, "device": "cpu",
                                "float_timing": {}}  # fmt: skip


@pytest.mark.parametrize("repairs", ["fold, gptq", ["fold", "gptq"]])
def test_a_result_of_the_first_version_has_its_settings_in_the_spec(repairs: Any) -> None:
    older = json.loads(RESULT.to_json())
    older["spec"] = {"weight_spec": "int4", "repairs": repairs, "threads": 2, "traced": True, "average_bits": 4.5,
                     "widths": ["int2", "int4"], "preset": {"weights": "int8", "activations": "uint8"}}  # fmt: skip
    del older["settings"], older["version"]
    found = RunResult.from_json(json.dumps(older))
    asked = "fold, gptq" if isinstance(repairs, str) else "fold,gptq"
    assert found.settings == {"weight_spec": "int4", "repairs": asked, "threads": 2, "preset": "x86"}
    assert found.spec == RunSpec("", 2, repairs=("fold", "gptq"), traced=True, average_bits=4.5,
                                 widths=("int2", "int4"), preset=KernelSpec("int8", "uint8"))  # fmt: skip


def test_json_has_the_keys_that_others_rely_on() -> None:
    found = json.loads(RESULT.to_json())
    assert found.keys() >= {"run_id", "job", "model", "data", "seed", "spec", "versions", "seconds", "rows"}
    assert found.keys() >= {"history", "layers", "artifact"}
    assert found["rows"][0].keys() >= {f.name for f in dataclasses.fields(Row)}
    assert found["rows"][0]["top1_ci95"] == [0.4, 0.6]


def test_a_result_of_a_newer_version_is_read_without_what_is_new() -> None:
    newer = json.loads(RESULT.to_json())
    newer["novelty"] = 1
    newer["rows"][0]["novelty"] = 1
    assert RunResult.from_json(json.dumps(newer)) == RESULT


def test_a_result_of_an_older_version_is_read_with_the_defaults_of_what_is_new() -> None:
    older = json.loads(RESULT.to_json())
    for key in ("history", "layers", "artifact"):
        del older[key]
    for row_ in older["rows"]:
        del row_["note"], row_["artifact"]
    found = RunResult.from_json(json.dumps(older))
    assert (found.history, found.layers, found.artifact) == ((), (), None)
    assert [(r.note, r.artifact) for r in found.rows] == [("", None)] * 2


def changed(*path: Any, value: Any) -> str:
    """RESULT as JSON with one value replaced, or left out where it is Ellipsis."""
    document = part = json.loads(RESULT.to_json())
    for key in path[:-1]:
        part = part[key]
    if value is ...:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return json.dumps(document)


MS = (0, "latency_ms")
DAMAGED = {
    "empty": ("", "Expecting value"),
    "cut": (RESULT.to_json()[:-20], "cannot be read"),
    "list": ("[]", "The result is not a table"),
    "deep": ("[" * 200_000, "recursion"),
    "nothing": ("{}", "The result lacks run_id"),
    "no rows": (changed("rows", value=...), "The result lacks rows"),
    "rows null": (changed("rows", value=None), "rows of the result cannot be “None”"),
    "rows empty": (changed("rows", value=[]), "it has no rows"),
    "row text": (changed("rows", 0, value="x"), "entry 0 of rows of the result is not a table"),
    "row without n": (changed("rows", 1, "n", value=...), "entry 1 of rows of the result lacks n"),
    "top1 text": (changed("rows", 0, "top1", value="high"), "top1 of entry 0 of rows of the result cannot be “high”"),
    "top1 nan": (changed("rows", 0, "top1", value=float("nan")), "top1 of entry 0"),
    "ci short": (changed("rows", 0, "top1_ci95", value=[0.1]), "has 1 entries, not 2"),
    "ci number": (changed("rows", 0, "top1_ci95", value=1), "top1_ci95 of entry 0"),
    "latency of another form": (changed("rows", *MS, "1", value=4.0), "1 in latency_ms"),
    "latency without p95": (
        changed("rows", *MS, "1", "p95", value=...),
        "1 in latency_ms of entry 0 .* lacks p95",
    ),
    "latency of no time": (changed("rows", *MS, "1", "median", value=0), "row fp32 has a latency of no time"),
    "latency of another batch": (changed("rows", 1, "latency_ms", value={}), "row x86 has latencies of other batch"),
    "model without name": (changed("model", value={}), "model of the result lacks name"),
    "data without count": (changed("data", "calibration_n", value=...), "data of the result lacks calibration_n"),
    "seed yes": (changed("seed", value=True), "seed of the result cannot be “True”"),
    "surrogate": (changed("rows", *MS, "\ud800", value=1), r"\\ud800 in latency_ms"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_no_result_is_a_user_error_that_says_what_is_amiss(name: str) -> None:
    text, message = DAMAGED[name]
    with pytest.raises(UserError, match=message) as caught:
        RunResult.from_json(text)
    assert str(caught.value).isprintable()


def test_json_can_be_encoded_whatever_a_path_is_made_of() -> None:
    odd = dataclasses.replace(RESULT, settings={"weights": "/data/caf\udce9.pt"})
    assert RunResult.from_json(odd.to_json().encode().decode()) == odd


def test_nan_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        dataclasses.replace(RESULT, seconds=float("nan")).to_json()
