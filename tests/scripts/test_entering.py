"""Every script checks before any work that it has what it needs to the end, and goes on where it is."""

import os
import subprocess
import sys
from pathlib import Path

import _inside
import _pip
import pytest
from _environment import Environment, chosen
from _folders import environments
from environments import ROOT, make_environment, posix_only
from small_checkouts import make_checkout

SCRIPTS = ("make_samples.py", "ladder.py", "benchmark.py", "screenshot.py", "smoke.py", "judges.py", "test.py")


def bare(root: Path, script: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a script with a Python that has no packages."""
    command = [sys.executable, "-S", root / "scripts" / script, *words]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**clean, **environ})


@posix_only
@pytest.mark.parametrize(
    "words",
    [
        ("make_samples.py", "--data", "mnist", "--out", "weights of mine"),
        ("ladder.py", "--data", "mnist"),
        ("benchmark.py", "--only", "sketch"),
        ("screenshot.py",),
        ("smoke.py", "--screenshot", "x.png"),
    ],
)
def test_a_script_goes_on_in_the_environment_with_all_that_it_needs(tmp_path: Path, words: tuple[str, ...]) -> None:
    root = make_checkout(tmp_path / "a checkout")
    subprocess.run(["cp", "-r", ROOT / "scripts" / "benchmarks", root / "scripts"], check=True)
    make_environment(root, pip='printf "<%s>" "$@"', extras=("test",))
    answer = bare(root, *words)
    assert answer.stdout == f"<{root}/scripts/{words[0]}>" + "".join(f"<{word}>" for word in words[1:]), answer


@posix_only
def test_a_script_that_lacks_something_even_there_says_how_to_mend_it(tmp_path: Path) -> None:
    root = make_checkout(tmp_path / "a checkout")
    answer = bare(root, "make_samples.py", QEXPLORER_SCRIPT_ENTERED="1")
    assert answer.returncode == 3
    [line] = answer.stderr.splitlines()
    assert "safetensors" in line
    assert "python3 scripts/launch.py --repair" in line


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_on_a_script_needs_no_environment(tmp_path: Path, script: str) -> None:
    root = make_checkout(tmp_path / "a checkout")
    subprocess.run(["cp", "-r", ROOT / "scripts" / "benchmarks", root / "scripts"], check=True)
    answer = bare(root, script, "--help")
    assert answer.returncode == 0, answer
    assert len(answer.stdout) > 50
    assert not (root / ".venv").exists()


def test_long_work_that_is_stopped_says_how_it_goes_on(capsys):
    def stopped() -> int:
        raise KeyboardInterrupt

    assert _inside.to_the_end(stopped) == 130
    assert "goes on" in capsys.readouterr().err


def test_a_checkout_that_may_not_be_written_has_its_environment_among_the_persons_data(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "data"))
    one, two = make_environment(tmp_path / "one"), make_environment(tmp_path / "two")
    assert chosen(root=two.root).folder == two.folder
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # whoever runs the tests may write anything
    assert chosen(root=one.root).folder == one.folder  # it serves as it is
    for made in (one, two):
        (made.root / "constraints.txt").write_text("numpy==2.5.0\n")
    folders = {chosen(root=made.root).folder for made in (one, two)}
    assert len(folders) == 2
    assert {folder.parent for folder in folders} == {environments()}


@posix_only
def test_an_environment_elsewhere_is_made_from_the_checkout(tmp_path):
    made = make_environment(tmp_path / "a checkout")
    elsewhere = Environment(made.root, tmp_path / "data" / "x")
    elsewhere.folder.parent.mkdir()
    made.folder.rename(elsewhere.folder)
    (elsewhere.folder / "pyvenv.cfg").write_text(f"home = {sys.base_prefix}\n")
    elsewhere.prepare()
    assert elsewhere.is_ready()
    assert "--editable ." in (made.root / "calls").read_text()
    assert not made.folder.exists()


def test_a_program_whose_packages_are_damaged_says_in_one_sentence_what_mends_it(tmp_path):
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("raise ImportError('numpy is half there')")
    command = [sys.executable, "-P", "-m", "qexplorer", "formats"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert answer.returncode == 3
    [line] = answer.stderr.splitlines()
    assert "numpy is half there" in line
    assert line.endswith(f"Mend it: python3 {ROOT / 'scripts' / 'launch.py'} --repair")


def test_what_a_person_tells_pip_reaches_it_and_what_breaks_an_environment_does_not(tmp_path, monkeypatch):
    for name in ("mine.txt", "my ca.pem"):
        (tmp_path / name).touch()
    (tmp_path / "wheels").mkdir()
    monkeypatch.chdir(tmp_path)
    given = {"HTTPS_PROXY": "http://proxy:1", "PIP_INDEX_URL": "https://mirror/simple", "PIP_CERT": "my ca.pem",
             "PIP_CONSTRAINT": "mine.txt", "PIP_FIND_LINKS": "wheels https://else.where/", "PIP_TARGET": "/opt/x",
             "PYTHONPATH": "/opt/ros", "PYTHONHOME": "/usr"}  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    environ = _pip.environ()
    assert {name: environ.get(name) for name in given} == {
        **given, "PIP_CERT": str(tmp_path / "my ca.pem"), "PIP_CONSTRAINT": f"constraints.txt {tmp_path / 'mine.txt'}",
        "PIP_FIND_LINKS": f"{tmp_path / 'wheels'} https://else.where/",
        "PIP_TARGET": None, "PYTHONPATH": None, "PYTHONHOME": None,
    }  # fmt: skip
