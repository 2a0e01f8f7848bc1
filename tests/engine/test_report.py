import csv
import io
from html.parser import HTMLParser
from pathlib import Path

import pytest

from qexplorer.engine.jobs.report import FIRST, LAST, as_csv, export
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import Latency, Row
from qexplorer.engine.runs.run import Run
from qexplorer.errors import UserError
from tests.results import a_result

SETTINGS = ("weight_spec", "activation_spec", "overrides", "repairs", "preset", "to", "epochs", "rate", "start")


def a_run(history: History, note: str = "") -> Run:
    ms = {b: Latency(t, t - 0.5, t + 0.5, 9) for b, t in (("1", 2.0), ("64", 70.0))}
    row = Row("fp32", "REAL", "float", 100, 120, 0.5, (0.4, 0.6), 0.9, 10, 0, ms, 3, note=note)
    other = Row("=cmd()", "SIMULATED", "cpu", 30, 120, 0.4, (0.3, 0.5), 0.9, 10, 2, ms, 3)
    spec = {"weight_spec": "int4", "activation_spec": "uint8", "repairs": ["fold", "gptq"]}
    data = {"name": "digits", "sha256": "cd34", "calibration_n": 77, "train_n": 500}
    result = a_result("weight-only", row, other, model={"name": "<b>net</b>", "sha256": "ab12"}, data=data, spec=spec,
                      versions={"torch": "2", "isa": "avx2"})  # fmt: skip
    run_id = history.start("weight-only", {})
    history.finish(run_id, result.to_json())
    history.annotate(run_id, "the <best> one")
    return history.get(run_id)


def test_csv_has_a_line_for_each_row(history: History, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    export([a_run(history)], path)
    lines = list(csv.DictReader(io.StringIO(path.read_text())))
    assert tuple(lines[0]) == (*FIRST, *SETTINGS, *LAST)
    assert [line["row"] for line in lines] == ["fp32", "'=cmd()"]  # no formula for a spreadsheet
    assert float(lines[1]["top1"]) == 0.4
    assert lines[0]["notes"] == "the <best> one"
    expected = {"batch64_ms": "70.0", "batch1_p05_ms": "1.5", "batch64_p95_ms": "70.5", "batch1_runs": "9",
                "weight_spec": "int4", "activation_spec": "uint8", "repairs": "fold,gptq", "overrides": "",
                "calibration_n": "77", "train_n": "500", "weights_sha256": "ab12", "data_sha256": "cd34",
                "versions": "torch 2, isa avx2", "threads": "3"}  # fmt: skip
    assert {name: lines[1][name] for name in expected} == expected


def test_html_is_a_page_of_its_own(history: History, tmp_path: Path) -> None:
    path = tmp_path / "runs.html"
    export([a_run(history)], path)
    text = path.read_text()
    seen: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append(tag)
            assert not {"src", "href"} & {name for name, _ in attrs}

    Parser().feed(text)
    assert {"b", "script", "best"}.isdisjoint(seen)
    assert "&lt;b&gt;net" in text
    assert "SIMULATED" in text
    assert "the &lt;best&gt; one" in text
    for part in ("<td>float", "<td>10", "<td>3", "2.00 ms [1.50 – 2.50]", "calibrated on 77 of 500, tested on 10",
                 "activation spec uint8", "repairs fold,gptq", "isa avx2", "weights ab12", "data cd34"):  # fmt: skip
        assert part in text


@pytest.mark.parametrize("ending", ["csv", "html"])
def test_a_damaged_result_is_left_out_and_counted(history: History, tmp_path: Path, ending: str) -> None:
    good, bad = a_run(history), history.start("qat", {})
    history.finish(bad, "{}")
    path = tmp_path / f"runs.{ending}"
    left_out = export([good, history.get(bad)], path)
    assert left_out == f"Left out, for their results cannot be read: 1 run ({bad})."
    assert good.run_id in path.read_text()
    assert export([good], path) == ""
    with pytest.raises(UserError, match=r"results of 1 run .* cannot be read"):
        export([history.get(bad)], path)


def test_another_ending_and_no_result_are_refused(history: History, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither \.csv nor \.html"):
        export([a_run(history)], tmp_path / "runs.pdf")
    with pytest.raises(UserError, match="None of these runs"):
        export([history.get(history.start("qat", {}))], tmp_path / "runs.csv")
    assert as_csv([]).count("\n") == 1
