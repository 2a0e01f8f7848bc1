import csv
import io
from html.parser import HTMLParser
from pathlib import Path

import pytest

from qexplorer.engine.history import History, Run
from qexplorer.engine.report import COLUMNS, as_csv, export
from qexplorer.engine.results import Row, RunResult
from qexplorer.errors import UserError


def a_run(history: History, note: str = "") -> Run:
    row = Row("fp32", "REAL", "float", 100, 120, 0.5, (0.4, 0.6), 0.9, 10, 0, {}, 1, note=note)
    other = Row("=cmd()", "SIMULATED", "cpu", 30, 120, 0.4, (0.3, 0.5), 0.9, 10, 2, {}, 1)
    result = RunResult("", "weight-only", {"name": "<b>net</b>", "sha256": "ab"}, {"name": "digits", "sha256": "cd",
                       "calibration_n": 0}, 0, {"weight_spec": "int4"}, {"torch": "2"}, 1.0, (row, other))  # fmt: skip
    run_id = history.start("weight-only", {})
    history.finish(run_id, result.to_json())
    history.annotate(run_id, "the <best> one")
    return history.get(run_id)


def test_csv_has_a_line_for_each_row(history: History, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    export([a_run(history)], path)
    lines = list(csv.DictReader(io.StringIO(path.read_text())))
    assert tuple(lines[0]) == COLUMNS
    assert [line["row"] for line in lines] == ["fp32", "'=cmd()"]  # no formula for a spreadsheet
    assert float(lines[1]["top1"]) == 0.4
    assert lines[0]["notes"] == "the <best> one"


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


def test_another_ending_and_no_result_are_refused(history: History, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither \.csv nor \.html"):
        export([a_run(history)], tmp_path / "runs.pdf")
    with pytest.raises(UserError, match="None of these runs"):
        export([history.get(history.start("qat", {}))], tmp_path / "runs.csv")
    assert as_csv([]).count("\n") == 1
