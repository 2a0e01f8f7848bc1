"""The table of scripts/judges.py is read from what pytest reports."""

import subprocess
import sys
from pathlib import Path

import judges
import pytest

SUITE = """
import pytest

@pytest.fixture(autouse=True)
def judged(record_property, request):
    record_property("judge", request.function.__name__.split("_")[1])

def test_mathematics_agrees(record_property):
    record_property("checked", 1_500)
    record_property("not applicable", "NaN: it is left out")

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
    lines = judges.table(judges.read(report)).splitlines()
    assert any(line.split()[:4] == ["mathematics", "1,500", "1", "1"] for line in lines)
    assert "  software: not installed" in lines


def test_every_judge_of_the_suite_has_a_name():
    folder = Path(__file__).resolve().parents[1] / "judges"
    for path in folder.glob("test_*.py"):
        assert "\nJUDGE = " in path.read_text(encoding="utf-8"), path.name
