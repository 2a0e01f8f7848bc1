"""What `scripts/launch.py` puts on a machine it takes away again, and of the person's own only what they agree to."""

from pathlib import Path

import platformdirs
import pytest
from _desktop import desktop_files
from _folders import own_folders
from environments import make_environment
from small_checkouts import launch, make_checkout


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with an environment and a desktop entry, of a person who has runs and a session."""
    for kind in ("DATA", "STATE", "CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    monkeypatch.setenv("PATH", "")  # the desktop's own databases are not this test's business
    root = make_checkout(tmp_path / "a checkout")
    make_environment(root)
    for path in desktop_files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for folder in ("data", "state"):
        (tmp_path / folder / "qexplorer").mkdir(parents=True)
        (tmp_path / folder / "qexplorer" / "file").write_bytes(bytes(2_000_000))
    return root


def left(root: Path) -> set[str]:
    paths = [root / ".venv", *desktop_files(), *(folder / "file" for folder in own_folders())]
    return {path.relative_to(root.parent).as_posix() for path in paths if path.exists()}


OWN = {"data/qexplorer/file", "state/qexplorer/file"}


def test_the_persons_own_files_stay_unless_they_say_so(root: Path) -> None:
    answer = launch(root, "--uninstall", answers="y\nn\n")
    assert answer.returncode == 0, answer
    assert left(root) == OWN
    assert f"2.0 MB  {root.parent / 'data' / 'qexplorer'}" in answer.stdout
    assert (root / "scripts" / "launch.py").exists()


def test_a_no_keeps_what_was_installed(root: Path) -> None:
    before = left(root)
    assert launch(root, "--uninstall", answers="n\nn\n").returncode == 0
    assert left(root) == before


def test_without_anybody_to_ask_nothing_goes(root: Path) -> None:
    before = left(root)
    answer = launch(root, "--uninstall")
    assert answer.returncode == 2
    assert "--yes" in answer.stderr
    assert left(root) == before


def test_yes_removes_everything_and_a_second_time_finds_nothing(root: Path) -> None:
    assert launch(root, "--uninstall", "--yes").returncode == 0
    assert left(root) == set()
    again = launch(root, "--uninstall")
    assert (again.returncode, again.stdout.count("nothing.")) == (0, 2)


def test_of_a_linked_environment_only_the_link_goes(root: Path, tmp_path: Path) -> None:
    (root / ".venv").rename(tmp_path / "theirs")
    (root / ".venv").symlink_to(tmp_path / "theirs")
    assert launch(root, "--uninstall", "--yes").returncode == 0
    assert not (root / ".venv").is_symlink()
    assert (tmp_path / "theirs" / "pyvenv.cfg").exists()


@pytest.mark.parametrize("value", ["", "/an/absolute/one"])
def test_the_launcher_knows_the_programs_folders_without_its_packages(value, monkeypatch):
    for kind in ("DATA", "STATE", "CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", value and f"{value}/{kind}")
    kinds = ("data", "state", "config", "cache")
    theirs = {getattr(platformdirs, f"user_{kind}_path")("qexplorer", appauthor=False) for kind in kinds}
    assert set(own_folders()) == theirs
