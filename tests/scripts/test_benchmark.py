"""The figures of scripts/benchmark.py have their agreed form; what they say of time is not looked at."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import benchmark
import benchmarks
import pytest
from benchmarks import MEASUREMENTS, chosen
from benchmarks.figures import DifferenceError, Failure, Figure, at_least, at_most, require_close, require_equal
from benchmarks.table import table

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "benchmark.py"
NAMES = ["exact-int8-tensor", "sketch-bfloat16"]
TYPES = {
    "name": str,
    "work": str,
    "ours_s": float,
    "peer": str,
    "peer_s": float,
    "ratio": float,
    "limit": str,
    "limit_s": float,
    "over_limit": float,
    "runs": int,
    "bar": str,
    "holds": bool,
    "note": str,
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, encoding="utf-8", check=False)


def figure(**changes: object) -> Figure:
    values = {"name": "a", "work": "w", "ours_s": 2.0, "peer": "p", "peer_s": 6.0, "limit": "l", "limit_s": 1.0,
              "runs": 5, "bars": (at_least(">= 2x", 3, 2), at_most("<= 1 s", 2.0, 1.0))}  # fmt: skip
    return Figure(**{**values, **changes})  # type: ignore[arg-type]


def test_figures_are_told_as_json_once_their_results_equal_the_peers():
    answer = run("--quick", "--json", *(word for name in reversed(NAMES) for word in ("--only", name)))
    assert answer.returncode == 0, answer.stderr
    figures = json.loads(answer.stdout)
    assert [each["name"] for each in figures] == NAMES
    for each in figures:
        assert {name: type(each[name]) for name in TYPES} == TYPES
        assert each["ratio"] == pytest.approx(each["peer_s"] / each["ours_s"])
        assert each["over_limit"] == pytest.approx(each["ours_s"] / each["limit_s"])
        assert each["holds"] == (each["misses_by"] is None)


def test_an_unknown_name_ends_with_one_line_that_says_what_there_is():
    answer = run("--only", "exakt")
    assert (answer.returncode, answer.stdout) == (2, "")
    (line,) = answer.stderr.splitlines()
    assert "exakt" in line
    assert all(name in line for name in MEASUREMENTS)


def test_a_name_stands_for_all_that_begin_with_it_and_a_dash():
    assert chosen(["sketch"]) == {"sketches": ["sketch-float32", "sketch-bfloat16"]}
    assert sorted(name for names in chosen([]).values() for name in names) == sorted(MEASUREMENTS)


def test_a_missed_bar_tells_by_how_much():
    values = figure().to_json()
    assert (values["holds"], values["misses_by"], values["bar"]) == (False, 2.0, ">= 2x; <= 1 s")
    assert figure(bars=(at_least(">= 2x", 3, 2),)).to_json()["misses_by"] is None


def test_the_table_ends_with_the_bars_that_hold_and_those_that_do_not():
    lines = table([figure(), Failure("b", "it differs")], quick=True).splitlines()
    assert lines[0] == "quick: not the bars"
    assert lines[4].split() == ["b", "failed"]
    assert lines[-6:] == ["Bars that hold:", "  a: >= 2x, by 1.50x", "Bars that are missed:", "  a: <= 1 s, by 2.00x",
                          "Not measured:", "  b: it differs"]  # fmt: skip


def test_the_table_tells_where_the_machine_was_not_quiet():
    text = "not to be trusted: other programs used 40% of the cores"
    assert text in table([figure(others=0.4)], quick=False)
    assert "not to be trusted" not in table([figure(others=0.01), figure(others=None)], quick=False)


def test_results_that_differ_are_named():
    require_equal("counts", [1, 2], [1, 2])
    require_close("MSE", 1.0, 1.0005, 1e-3)
    with pytest.raises(DifferenceError, match=r"counts.*1 counts differ"):
        require_equal("counts", [1, 2], [1, 3])
    with pytest.raises(DifferenceError, match="counts"):
        require_equal("counts", [1, 2], [1, 2, 3])
    with pytest.raises(DifferenceError, match="MSE"):
        require_close("MSE", 1.0, 1.1, 1e-3)
    with pytest.raises(DifferenceError, match="MSE"):
        require_close("MSE", float("nan"), 1.0, 1e-3)


Measure = Callable[[Sequence[str], bool], Iterator[Figure]]


@pytest.fixture
def measured_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[Measure], None]:
    """Three figures, “a”, “b” and “c”, of one module that measures them in a way of the test's own."""

    def install(measure: Measure) -> None:
        module = ModuleType("benchmarks.fake")
        module.measure = measure  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "benchmarks.fake", module)
        monkeypatch.setattr(benchmarks, "MEASUREMENTS", dict.fromkeys("abc", "fake"))

    return install


def b_fails(names: Sequence[str], quick: bool) -> Iterator[Figure]:
    for name in names:
        if name == "b":
            raise MemoryError("no room for it")
        yield figure(name=name)


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_each_figure_is_told_on_stderr_before_the_next_is_measured(measured_by, capsys, arguments):
    told: list[str] = []

    def measure(names: Sequence[str], quick: bool) -> Iterator[Figure]:
        for name in names:
            told.append(capsys.readouterr().err)
            yield figure(name=name)

    measured_by(measure)
    assert benchmark.main(arguments) == 0
    assert [text.partition(":")[0] for text in told] == ["", "a", "b"]
    assert "ours 2 s" in told[1]
    out, err = capsys.readouterr()
    assert err.startswith("c:")
    assert [row["name"] for row in json.loads(out)] == ["a", "b", "c"] if arguments else out.startswith("name ")


def test_a_figure_that_fails_is_a_row_with_its_error_and_takes_no_other_with_it(measured_by, capsys):
    measured_by(b_fails)
    assert benchmark.main(["--json"]) == 1
    out, err = capsys.readouterr()
    a, b, c = json.loads(out)
    assert (a["name"], b, c["name"]) == ("a", {"name": "b", "error": "MemoryError: no room for it"}, "c")
    assert "no room for it" in err


def test_the_table_is_whole_although_a_figure_failed(measured_by, capsys):
    measured_by(b_fails)
    assert benchmark.main([]) == 1
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows[1:4]] == [["a", "2"], ["b", "failed"], ["c", "2"]]


def test_what_was_measured_before_ctrl_c_is_not_lost(measured_by, capsys):
    def interrupted(names: Sequence[str], quick: bool) -> Iterator[Figure]:
        yield figure(name="a")
        raise KeyboardInterrupt

    measured_by(interrupted)
    assert benchmark.main(["--json"]) == 130
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["a"]


def test_a_figure_that_a_module_leaves_out_is_a_failure_and_no_endless_search(measured_by, capsys):
    measured_by(lambda names, quick: iter([figure(name=name) for name in names if name != "b"]))
    assert benchmark.main(["--json"]) == 1
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == {"a", "b", "c"}
    assert set(rows["b"]) == {"name", "error"}


def test_peers_that_are_not_installed_are_named(measured_by, capsys, monkeypatch):
    measured_by(b_fails)
    monkeypatch.setitem(sys.modules, "gguf", None)
    benchmark.main(["--json"])
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "not installed" in line)
    assert "gguf" in line
    assert "torchao" not in line
