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

ROUNDS = 7


def objects() -> Counter[str]:
    """How many there are of each type of Qt, of the plots and of the program; states are kept for undo."""
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    kinds = [type(each) for each in gc.get_objects() if not isinstance(each, AppState | Recipe | Rule | LayerSpec)]
    names = [f"{kind.__module__}.{kind.__name__}" for kind in kinds]
    return Counter(name for name in names if name.startswith(("PySide6.", "qexplorer.", "pyqtgraph.")))


def grown(qtbot, change: Callable[[int], None], times: int) -> Counter[str]:
    """What there is more of after every round of the changes, the first apart, which builds and fills what is kept.

    Pictures of what was painted come and go; a leak grows in each round.
    """
    counts: list[Counter[str]] = []
    leaked: Counter[str] | None = None
    while leaked != Counter() and len(counts) < ROUNDS:
        for i in range(times):
            change(i)
        qtbot.wait(300)  # what was asked for late comes too
        counts.append(objects())
        if len(counts) > 2:
            more = counts[-1] - counts[-2]
            leaked = more if leaked is None else leaked & more
    return leaked or Counter()


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

    assert grown(qtbot, change, 10) == Counter()


def test_opening_files_and_tensors_leaves_nothing(qtbot, open_window, made_up, tmp_path: Path) -> None:
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", **{f"t{i}": np.random.default_rng(i).normal(size=(8, 8)) for i in range(4)})
    window = open_window(made_up)

    def change(i: int) -> None:
        path = tmp_path / f"{'ab'[i // 4 % 2]}.npz"
        if i % 4 == 0:
            window.open_path(str(path))
            qtbot.waitUntil(lambda: window.preview.checkpoint is not None and window.preview.checkpoint.path == path)
        window.store.update(tensor=f"t{i % 4}")
        qtbot.waitUntil(lambda: window.settled, timeout=20_000)

    assert grown(qtbot, change, 8) == Counter()
