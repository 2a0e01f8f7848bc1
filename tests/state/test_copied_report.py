from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qexplorer.log import log, logged
from qexplorer.progress import finish
from qexplorer.state.report import report, without_folders
from qexplorer.weights import open_checkpoint


def test_a_report_has_the_facts_of_the_file_and_neither_folders_nor_values(qapp, tmp_path: Path):
    folder = tmp_path / "my own folder"
    folder.mkdir()
    np.savez(folder / "secret.npz", key=np.full((3, 5), 0.4711, np.float32), other=np.arange(4))
    checkpoint = finish(open_checkpoint(str(folder / "secret.npz")))
    with logged(tmp_path / "logs"):
        try:
            np.load(folder / "gone.npz")
        except OSError:
            log.exception("could not read it")
        text = report(checkpoint, f"{folder}/secret.npz failed")
    assert "secret.npz: NumPy archive, 2 tensors of 92 bytes (float32 1, int64 1)" in text
    assert "secret.npz failed" in text
    assert "FileNotFoundError" in text
    for part in (str(tmp_path), "own folder", str(Path.home()) + "/", "0.4711"):
        assert part not in text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('File "/opt/python3/lib/foo.py", line 3', 'File "foo.py", line 3'),
        (r"C:\Users\jane\model.pt is damaged", "model.pt is damaged"),
        ("see https://example.org/a/b and a/b", "see https://example.org/a/b and a/b"),
        ("3/4 done at 1.5/s", "3/4 done at 1.5/s"),
    ],
)
def test_paths_are_cut_to_the_name_of_the_file(text: str, left: str):
    assert without_folders(text) == left


def test_help_copies_the_report(qtbot, open_window, made_up):
    from PySide6.QtGui import QGuiApplication

    window = open_window(replace(made_up))
    window.menus.actions["report"].trigger()
    assert "File: " in QGuiApplication.clipboard().text()
    assert "clipboard" in window.statusBar().currentMessage()
