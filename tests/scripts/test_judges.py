"""The table of scripts/judges.py is read from what pytest reports, and the count of judged formats can fail."""

import os
import subprocess
import sys
from pathlib import Path

import judges
import pytest

BENCH = Path(__file__).resolve().parents[1] / "judges"
SUITE = """
import pytest

@pytest.fixture(autouse=True)
def judged(record_property, request):
    record_property("judge", request.function.__name__.split("_")[1])

def test_mathematics_agrees(record_property):
    record_property("checked", 1_500)
    record_property("not applicable", "NaN: it is left out")
    record_property("without a judge", "tf32: nobody has it")

def test_mathematics_fails():
    assert False

def test_software_is_absent():
    pytest.skip("not installed")
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("judges")
    (folder / "test_it.py").write_text(SUITE)
    path = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", str(folder), "-p", "no:cacheprovider",
               "-o", "junit_family=xunit1", "--junitxml", str(path), str(folder)]  # fmt: skip
    subprocess.run(command, check=False, capture_output=True)
    return str(path)


def test_cases_failures_and_what_does_not_apply_are_counted_for_each_judge(report):
    found = judges.read(report)
    mathematics = found["mathematics"]
    assert (mathematics.cases, mathematics.tests, mathematics.failed) == (1500, 2, 1)
    assert mathematics.remarks == ["NaN: it is left out"]
    assert (found["software"].remarks, found["software"].tests) == (["not installed"], 0)


def test_the_table_has_a_line_for_each_judge_and_says_why_something_does_not_apply(report):
    lines = judges.table(judges.read(report), judges.unjudged(report)).splitlines()
    assert any(line.split()[:4] == ["mathematics", "1,500", "1", "1"] for line in lines)
    assert "  software: not installed" in lines
    assert lines[lines.index("Formats without an external judge, and why:") + 1 :] == ["  tf32: nobody has it"]


def test_every_judge_of_the_suite_has_a_name():
    for path in BENCH.glob("test_*.py"):
        assert "\nJUDGE = " in path.read_text(encoding="utf-8"), path.name


PLANTED = """
from types import SimpleNamespace
from qexplorer.quant.formats import formats

formats.register(SimpleNamespace(name="planted", order=formats["int8"].order))
"""
JUDGING = """
import pytest
from qexplorer.quant.formats import formats
from test_every_format import UNJUDGED

JUDGE = "a judge for the test"

@pytest.mark.parametrize("name", formats.names)
def test_a_property_of_our_own(name):
    pass

def test_from_outside(verdict):
    verdict.checked(formats=tuple(set(formats.names) - set(UNJUDGED) - {"planted"} | %s))
"""


def count(folder: Path, also: set[str], plant: bool) -> subprocess.CompletedProcess[str]:
    """Run the real bench and the real count with one judge, who has seen `also` beside all but the listed formats."""
    for name in ("conftest.py", "test_every_format.py"):
        (folder / name).write_text((BENCH / name).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "test_one.py").write_text(JUDGING % (also or "set()"))
    (folder / "planting.py").write_text(PLANTED if plant else "")
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", folder, "-p", "no:cacheprovider",
               "-p", "planting", folder]  # fmt: skip
    paths = os.pathsep.join([str(folder), str(BENCH.parents[1])])
    environ = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environ)


def test_the_count_passes_where_every_format_is_judged_or_listed(tmp_path):
    answer = count(tmp_path, set(), plant=False)
    assert answer.returncode == 0, answer.stdout
    assert "skipped" not in answer.stdout


def test_the_count_fails_for_a_format_that_only_our_own_properties_have_seen(tmp_path):
    answer = count(tmp_path, set(), plant=True)
    assert answer.returncode == 1, answer.stdout
    assert "test_every_format_was_judged_from_outside" in answer.stdout
    assert "planted" in answer.stdout.split("short test summary")[0]


def test_the_count_passes_once_the_format_is_judged(tmp_path):
    assert count(tmp_path, {"planted"}, plant=True).returncode == 0


def test_the_count_fails_for_a_listed_format_that_has_got_a_judge(tmp_path):
    answer = count(tmp_path, {"tf32"}, plant=False)
    assert answer.returncode == 1, answer.stdout
    assert "test_a_format_without_a_judge_is_offered_and_has_none" in answer.stdout
