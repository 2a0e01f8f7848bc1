import importlib.util
import sys
from pathlib import Path

import pytest
from _environment import Environment

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def script():
    # Not by its name: `test` is a package of Python's own.
    spec = importlib.util.spec_from_file_location("scripts_test", SCRIPTS / "test.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_every_step_runs_even_after_one_that_failed(script, tmp_path, capfd):
    commands = {
        "first": python("print('one')"),
        "second": python("raise SystemExit(5)"),
        "third": python("print('three')"),
    }
    assert script.run_steps(Environment(tmp_path), commands, {}) == 1
    out = capfd.readouterr().out
    assert "three" in out
    table = [line.split()[:2] for line in out.splitlines()[-3:]]
    assert table == [["first", "ok"], ["second", "FAILED"], ["third", "ok"]]


def test_all_steps_passing_is_success(script, tmp_path):
    assert script.run_steps(Environment(tmp_path), {"only": python("pass")}, {}) == 0


def test_arguments_go_to_pytest_alone(script, tmp_path):
    commands = script.steps(Environment(tmp_path), ["-k", "grid", "-x"])
    assert list(commands) == ["ruff check", "ruff format", "pyright", "import-linter", "pytest"]
    assert commands["pytest"][-3:] == ["-k", "grid", "-x"]
    assert not any("grid" in word for name, words in commands.items() if name != "pytest" for word in words)


def test_the_tests_see_no_screen_and_none_of_the_users_folders(script, tmp_path):
    environ = script.isolated(str(tmp_path))
    assert environ["QT_QPA_PLATFORM"] == "offscreen"
    for kind in ("DATA", "STATE", "CONFIG", "CACHE"):
        assert Path(environ[f"XDG_{kind}_HOME"]).is_relative_to(tmp_path)
