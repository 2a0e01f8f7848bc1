"""The Layers panel in a window, as its tests use it."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from PySide6.QtCore import Qt

from qexplorer.inspection.analyses import Analyses
from qexplorer.main_window import MainWindow
from qexplorer.panels.layers import LayersPanel
from qexplorer.progress import Progress, Steps

LEFT = Qt.MouseButton.LeftButton


Open = Callable[..., MainWindow]


class Gate:
    """Lets a scan measure only so many tensors, and then waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = threading.Semaphore(0)
        self.asked: list[str] = []
        measure = Analyses.measure

        def gated(analyses: Analyses, name: str, *args: Any, **options: Any) -> Steps[Any]:
            while not self.free.acquire(timeout=0.01):
                yield Progress("Waiting", fraction=0.0)
            self.asked.append(name)
            return (yield from measure(analyses, name, *args, **options))

        monkeypatch.setattr(Analyses, "measure", gated)

    def let(self, tensors: int) -> None:
        self.free.release(tensors)


def in_front(qtbot: Any, window: MainWindow) -> LayersPanel:
    """Unfold the panel."""
    if window.docks["layers"].folded:
        qtbot.mouseClick(window.docks["layers"].title_bar.fold, LEFT)
    qtbot.waitUntil(lambda: not window.docks["layers"].folded and window.panel(LayersPanel).height() > 200)
    qtbot.wait(20)
    return window.panel(LayersPanel)


def folded(qtbot: Any, window: MainWindow) -> None:
    """Fold the panel to its line."""
    qtbot.mouseClick(window.docks["layers"].title_bar.fold, LEFT)
    qtbot.waitUntil(lambda: window.docks["layers"].folded)


def names(panel: LayersPanel) -> list[str]:
    model = panel.table.model()
    return [model.index(row, 0).data() for row in range(model.rowCount())]


def done(qtbot: Any, panel: LayersPanel) -> None:
    scan = panel.layers
    qtbot.waitUntil(
        lambda: scan.idle and scan.scan is not None and scan.scan.complete and not scan.outdated, timeout=60_000
    )
