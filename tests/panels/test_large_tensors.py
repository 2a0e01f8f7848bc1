"""A tensor that is too large for a frame, in the window: said to be rough while it is, exact soon after."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from safetensors.numpy import save_file

from qexplorer.inspection import analyses
from qexplorer.main_window import MainWindow
from qexplorer.panels.distribution import DistributionPanel
from qexplorer.panels.error import ErrorPanel
from qexplorer.panels.metrics import MetricsPanel
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec
from qexplorer.quant.analysis import analyze_sketch
from qexplorer.quant.recipe import Recipe
from qexplorer.quant.sketch import sketch
from qexplorer.quant.tensor_source import Values
from qexplorer.state import preview
from qexplorer.state.app_state import AppState
from qexplorer.widgets.metrics_list import sqnr_bound
from qexplorer.widgets.segmented import Segmented

LEFT = Qt.MouseButton.LeftButton
Open = Callable[..., MainWindow]


@pytest.fixture
def open_window(open_window: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setattr(analyses, "QUICK_FROM", 10_000)
    rng = np.random.default_rng(0)
    save_file({"w": rng.standard_t(4, (200, 600)).astype(np.float32)}, tmp_path / "w.safetensors")

    def opened(**fields: str) -> MainWindow:
        state = AppState(path=str(tmp_path / "w.safetensors"), recipe=Recipe.of_weights(QuantSpec.from_json(fields)))
        return open_window(state, settle=False)

    return opened


def shown(qtbot: Any, window: MainWindow, coverage: str) -> None:
    qtbot.waitUntil(
        lambda: window.preview.analysis is not None and window.preview.analysis.coverage == coverage, timeout=20_000
    )


@pytest.mark.parametrize(("granularity", "coverage"), [("tensor", "sketch"), ("channel:0", "sampled")])
def test_the_badge_and_the_figures_say_how_rough_they_are(
    qtbot: Any, open_window: Open, granularity: str, coverage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "CALM_MS", 1500)
    window = open_window(format="int4", granularity=granularity)
    badge, metrics = window.panel(DistributionPanel).head.badge, window.panel(MetricsPanel).list
    labels = {label.accessibleName(): label for label in metrics.findChildren(QLabel)}
    band, error = metrics.findChild(QLabel, "band"), labels["Mean squared error"]
    shown(qtbot, window, coverage)
    analysis = window.preview.analysis
    assert analysis is not None
    rough = float(metrics.figures()["SQNR"])
    bound = float(band.text().partition("± ")[2].removesuffix(" dB"))
    assert 0.001 <= bound < 2
    assert "between" in error.toolTip()
    if coverage == "sketch":
        assert badge.text() == f"sketch ± {bound:g} dB"
    else:
        assert badge.text() == "sample of 65,536"
        assert metrics.figures()["Cosine"] == "…"
    assert len(badge.toolTip()) > 40
    assert badge.width() >= badge.fontMetrics().horizontalAdvance(badge.text()) + 10
    shown(qtbot, window, "exact")
    assert badge.text() == "exact"
    assert "±" not in band.text()
    assert "between" not in error.toolTip()
    assert float(metrics.figures()["SQNR"]) == pytest.approx(rough, abs=bound + 0.01)


def test_channels_wait_for_the_exact_pass(qtbot: Any, open_window: Open) -> None:
    window = open_window(format="int4", granularity="channel:0")
    panel = window.panel(ErrorPanel)
    shown(qtbot, window, "exact")
    view = next(each for each in window.findChildren(Segmented) if each.accessibleName() == "Error view")
    qtbot.mouseClick(view, LEFT, pos=view.rect_of("channels").center().toPoint())
    qtbot.waitUntil(panel.channels.isVisible)
    window.store.update(recipe=Recipe.of_weights(QuantSpec.from_json({"format": "int5", "granularity": "channel:0"})))
    shown(qtbot, window, "sampled")
    assert panel.channels.isVisible()
    shown(qtbot, window, "exact")
    assert panel.channels.isVisible()


def test_sketches_are_kept_beside_the_session(qtbot: Any, open_window: Open, tmp_path: Path) -> None:
    window = open_window(format="int4")
    shown(qtbot, window, "exact")
    assert (tmp_path / "sketches.sqlite3").stat().st_size > 10_000


def test_a_figure_without_error_has_a_bound_on_one_side() -> None:
    codes = np.random.default_rng(1).integers(-127, 128, 20_000)
    codes[0] = 127
    x = codes.astype(np.float32) * np.float32(0.0123)
    rough = analyze_sketch(finish(sketch(Values.of(x))), x.shape, QuantSpec())
    text = sqnr_bound(rough)
    assert text.startswith(("≥ ", "± "))
    assert "NaN" not in text
    assert "∞" not in text
