import dataclasses
import json

import pytest

from qexplorer.engine.results import Row, RunResult, speed_note


def row(name: str) -> Row:
    ms = {"1": {"median": 4.0, "p05": 3.0, "p95": 5.0, "runs": 9}}
    return Row(name, "REAL", "x86", 10, 20, 0.5, (0.4, 0.6), 1.0, 8, 1, ms, 1, "note", "x.pt")


RESULT = RunResult("id", "ptq-static", {"name": "m"}, {"name": "d"}, 0, {}, {}, 1.5, (row("fp32"), row("x86")))


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


def test_nan_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        dataclasses.replace(RESULT, seconds=float("nan")).to_json()


def test_a_note_says_at_which_batch_it_is_no_faster() -> None:
    reference = {"1": {"median": 4.0}, "64": {"median": 80.0}}
    assert speed_note(reference, {"1": {"median": 2.0}, "64": {"median": 20.0}}) == ""
    note = speed_note(reference, {"1": {"median": 5.0}, "64": {"median": 20.0}})
    assert note.startswith("Batch 1 is no faster (0.80 times")
    assert "64" not in note
