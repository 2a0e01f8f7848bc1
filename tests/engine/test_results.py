import dataclasses
import json
from typing import Any

import pytest

from qexplorer.engine.runs.results import Row, RunResult
from qexplorer.errors import UserError


def row(name: str) -> Row:
    ms = {"1": {"median": 4.0, "p05": 3.0, "p95": 5.0, "runs": 9}}
    return Row(name, "REAL", "x86", 10, 20, 0.5, (0.4, 0.6), 1.0, 8, 1, ms, 1, "note", "x.pt")


DATA = {"name": "d", "calibration_n": 0}
RESULT = RunResult("id", "ptq-static", {"name": "m"}, DATA, 0, {}, {}, 1.5, (row("fp32"), row("x86")))


def test_a_result_survives_json() -> None:
    assert RunResult.from_json(RESULT.to_json()) == RESULT


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
    assert (found.history, found.layers, found.artifact) == ([], [], None)
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
    "list": ("[]", "the result is no object"),
    "deep": ("[" * 200_000, "recursion"),
    "nothing": ("{}", "the result lacks run_id"),
    "no rows": (changed("rows", value=...), "the result lacks rows"),
    "rows null": (changed("rows", value=None), "rows of the result is of another type"),
    "rows empty": (changed("rows", value=[]), "it has no rows"),
    "row text": (changed("rows", 0, value="x"), "entry 0 of rows of the result is no object"),
    "row without n": (changed("rows", 1, "n", value=...), "entry 1 of rows of the result lacks n"),
    "top1 text": (changed("rows", 0, "top1", value="high"), "top1 of entry 0 of rows of the result is of another type"),
    "top1 nan": (changed("rows", 0, "top1", value=float("nan")), "top1 of entry 0"),
    "ci short": (changed("rows", 0, "top1_ci95", value=[0.1]), "has 1 entries, not 2"),
    "ci number": (changed("rows", 0, "top1_ci95", value=1), "top1_ci95 of entry 0"),
    "latency of another form": (changed("rows", *MS, "1", value=4.0), "1 in latency_ms"),
    "latency without p95": (changed("rows", *MS, "1", "p95", value=...), "row fp32 has incomplete latencies"),
    "latency of no time": (changed("rows", *MS, "1", "median", value=0), "row fp32 has incomplete latencies"),
    "latency of another batch": (changed("rows", 1, "latency_ms", value={}), "row x86 has latencies of other batch"),
    "model without name": (changed("model", value={}), "model has no name"),
    "data without count": (changed("data", "calibration_n", value=...), "data has no calibration_n"),
    "seed yes": (changed("seed", value=True), "seed of the result is of another type"),
    "surrogate": (changed("rows", *MS, "\ud800", value=1), r"\\ud800 in latency_ms"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_no_result_is_a_user_error_that_says_what_is_amiss(name: str) -> None:
    text, message = DAMAGED[name]
    with pytest.raises(UserError, match=message) as caught:
        RunResult.from_json(text)
    assert str(caught.value).isprintable()


def test_json_can_be_encoded_whatever_a_path_is_made_of() -> None:
    odd = dataclasses.replace(RESULT, spec={"weights": "/data/caf\udce9.pt"})
    assert RunResult.from_json(odd.to_json().encode().decode()) == odd


def test_nan_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        dataclasses.replace(RESULT, seconds=float("nan")).to_json()
