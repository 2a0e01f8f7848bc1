"""Hours of use leave no more objects than minutes of it."""

import gc
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PySide6.QtCore import QCoreApplication, QEvent, Qt

from qexplorer.quant.recipe import LayerSpec, Recipe, Rule
from qexplorer.state.app_state import AppState

AREAS = (Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea,
         Qt.DockWidgetArea.BottomDockWidgetArea)  # fmt: skip

ROUNDS = 6


def objects() -> Counter[str]:
    """How many there are of each type of Qt, of the plots and of the program; states are kept for undo."""
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    kinds = [type(each) for each in gc.get_objects() if not isinstance(each, AppState | Recipe | Rule | LayerSpec)]
    names = [f"{kind.__module__}.{kind.__name__}" for kind in kinds]
    return Counter(name for name in names if name.startswith(("PySide6.", "qexplorer.", "pyqtgraph.")))


def grown(qtbot, change: Callable[[int], None], times: int) -> Counter[str]:
    """What a round of changes has left beyond the one before it, as soon as it is nothing, or that of the last round.

    The first rounds fill caches and build what is shown for the first time; a leak grows in each.
    """
    before, more = Counter[str](), Counter[str]()
    for _ in range(ROUNDS):
        for i in range(times):
            change(i)
        qtbot.wait(300)  # what was asked for late comes too
        now = objects()
        more, before = now - before, now
        if not more:
            break
    return more


def test_changing_the_docks_leaves_nothing(qtbot, open_window, made_up) -> None:
    window = open_window(made_up)

    def change(i: int) -> None:
        rng = random.Random(i)  # noqa: S311
        one, other = rng.sample(list(window.docks.values()), 2)
        match i % 5:
            case 0:
                one.setFloating(not one.isFloating())
            case 1:
                window.addDockWidget(rng.choice(AREAS), one)
            case 2:
                window.tabifyDockWidget(other, one)
            case 3:
                one.setVisible(not one.isVisible())
            case _:
                window.reset_layout()
        QCoreApplication.processEvents()

    assert grown(qtbot, change, 25) == Counter()


def test_opening_files_and_tensors_leaves_nothing(qtbot, open_window, made_up, tmp_path: Path) -> None:
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", **{f"t{i}": np.random.default_rng(i).normal(size=(8, 8)) for i in range(8)})
    window = open_window(made_up)

    def change(i: int) -> None:
        path = tmp_path / f"{'ab'[i // 8 % 2]}.npz"
        if i % 8 == 0:
            window.open_path(str(path))
            qtbot.waitUntil(lambda: window.preview.checkpoint is not None and window.preview.checkpoint.path == path)
        window.store.update(tensor=f"t{i % 8}")
        qtbot.waitUntil(lambda: window.settled, timeout=20_000)

    assert grown(qtbot, change, 16) == Counter()
