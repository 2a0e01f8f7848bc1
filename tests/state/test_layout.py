"""The layout: kept whole, set aside where it is damaged, and nothing in it is ever run."""

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtGui import QGuiApplication
from window_by_hand import Open

from qexplorer.errors import UserError
from qexplorer.state.layout import Layout, LayoutFile, PageLayout, packed, unpacked

LAYOUT = Layout(
    {"HDMI-1 1920x1080": (10, 20, 1280, 800)},
    "HDMI-1 1920x1080",
    pages={"explore": PageLayout(packed(b"panels"), ["weights", "runs"], ["layers"])},
    recent=["/a/ä\udce9", "/b"],
)


def test_a_layout_comes_back_as_it_was(tmp_path: Path) -> None:
    file = LayoutFile(tmp_path / "layout.json")
    assert (file.read(), file.damage) == (Layout(), "")
    file.write(LAYOUT)
    assert LayoutFile(file.path).read() == LAYOUT
    assert unpacked(LAYOUT.pages["explore"].panels) == b"panels"
    assert LAYOUT.opened("/c").opened("/b").recent == ["/b", "/c", "/a/ä\udce9"]
    assert len(replace(LAYOUT, recent=[str(i) for i in range(30)]).opened("x").recent) == 10


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x00\xff\xfe garbage ====",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"recent": 3}',
        b'{"recent": [3]}',
        b'{"places": {"x": [1, 2]}}',
        b'{"pages": {"explore": 3}}',
        b"x" * 2_000_000,
        b'[General]\nrecent="@Variant(' + b"\\0" * 60 + b')"\n',
        pickle.dumps(Path("x")),
    ],
)
def test_a_damaged_layout_is_set_aside_and_said(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "layout.json"
    path.write_bytes(damage)
    file = LayoutFile(path)
    assert file.read() == Layout()
    assert "layout.json is damaged and was kept as layout.damaged.json" in file.damage
    assert (tmp_path / "layout.damaged.json").read_bytes() == damage
    file.write(LAYOUT)
    assert file.read() == LAYOUT


def test_a_full_disk_leaves_what_was_there_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LayoutFile(tmp_path / "layout.json")
    file.write(LAYOUT)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=rf"layout could not be saved.*disk of {tmp_path}.*MB left of"):
        file.write(Layout())
    assert file.read() == LAYOUT


def test_a_window_opens_with_what_is_no_layout_of_its_own(open_window: Open, tmp_path: Path) -> None:
    panels = packed(os.urandom(3000))
    screen = QGuiApplication.primaryScreen()
    key = f"{screen.name()} {screen.geometry().width()}x{screen.geometry().height()}"
    bad = {
        "places": {key: [10**30, -(10**30), 0, 10**12]},
        "screen": key,
        "pages": {"explore": {"panels": panels, "docks": ["jobs", "none"], "yielded": ["metrics"], "before": [panels]}},
        "recent": ["\x00", "a\u202eb"],
    }
    (tmp_path / "layout.json").write_text(json.dumps(bad), encoding="utf-8")
    window = open_window()
    assert window.isVisible()
    window.close()
    assert LayoutFile(tmp_path / "layout.json").read().pages["explore"].panels != panels
