"""A control held down: how long from a key press until the picture of the new choice has been painted."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PySide6.QtCore import QEventLoop, QObject, Qt
from PySide6.QtTest import QTest

from qexplorer.main_window import MainWindow
from qexplorer.panels.distribution import DistributionPanel
from qexplorer.quant import Analysis, QuantSpec
from qexplorer.quant.recipe import Recipe
from qexplorer.state.app_state import AppState
from qexplorer.widgets.offered import Offered
from qexplorer.widgets.settings_row import SettingsRow

from . import data
from .checkpoints import write_square
from .figures import Figure, alternate, at_most, require_close, say
from .notebooks import torch_notebook, torch_rows_notebook
from .painted import Painted
from .peers import TOLERANCE, mean_square
from .windows import later, shown_window
from .workers import run_worker

FRAME_S = 1 / 60
CHANGES, QUICK_CHANGES = 200, 20
PATIENCE_S = 240.0
"""No more keys are sent after this time."""
MOST = 127
GRANULARITIES = {"slider-tensor": "tensor", "slider-channel": "channel:0", "slider-group": "group:128"}
LIMITS_MS = {"slider-tensor": 16.7, "slider-channel": 33.0, "slider-group": 33.0}


def measure(names: Sequence[str], quick: bool) -> Iterator[Figure]:
    """The figures of these names."""
    with tempfile.TemporaryDirectory(prefix="qexplorer-benchmark-") as folder:
        path = Path(folder, "square.safetensors")
        write_square(path, data.float32(quick))
        for name in names:
            say(f"moving a control of the window, {GRANULARITIES[name]}")
            found = run_worker("sliders", path=str(path), granularity=GRANULARITIES[name], quick=quick)
            yield _figure(name, found, quick)


def _figure(name: str, found: dict[str, Any], quick: bool) -> Figure:
    times = np.array(found.pop("seconds"))
    median, p95, worst = (float(np.percentile(times, p)) for p in (50, 95, 100))
    limit = LIMITS_MS[name]
    coverage = ", ".join(f"{n} {kind}" for kind, n in found["coverage"].items())
    return Figure(
        name=name,
        work=f"{data.described(quick)}, INT8 {GRANULARITIES[name]}: key pressed on Percentile -> painted, p95",
        ours_s=p95,
        peer=f"{found['peer']}, nothing painted",
        peer_s=found["peer_s"],
        limit=f"{limit:g} ms",
        limit_s=limit / 1000,
        runs=len(times),
        bars=(at_most(f"p95 <= {limit:g} ms", p95, limit / 1000),),
        note=f"median {median * 1000:.1f} ms, p95 {p95 * 1000:.1f} ms, max {worst * 1000:.1f} ms; shown: {coverage}",
        more={"median_s": median, "p95_s": p95, "max_s": worst, "coverage": found["coverage"]},
    )


class Slider(QObject):
    """Sends keys to a field, each once the picture of the one before is painted, and at most 60 a second."""

    def __init__(self, window: MainWindow, changes: int) -> None:
        super().__init__()
        self._window, self._changes = window, changes
        row = window.findChild(SettingsRow, "observer_settings")
        if row is None:
            raise LookupError("the window has no settings of the observer")
        self._field = cast("Offered", row.fields["percentile"])
        self._key = Qt.Key.Key_Down
        self._loop = QEventLoop()
        self._seen: set[QuantSpec | None] = {window.preview.spec}
        self._waiting = self._ready = False
        self._shown = self._window.preview.analysis
        self.seconds: list[float] = []
        self.coverage: dict[str, int] = {}
        self._began = self._sent = 0.0
        window.preview.analyzed.connect(self._on_analyzed)  # after the panels, which have drawn by then
        viewport = window.panel(DistributionPanel).plot.viewport()
        Painted(viewport, lambda: self._ready).happened.connect(self._on_painted)

    def run(self) -> None:
        """Send all keys."""
        self._field.setFocus()
        self._began = time.perf_counter()
        later(0, self._press)
        self._loop.exec()

    def _press(self) -> None:
        value = float(self._field.text())
        if not 50 <= value * (1.01 if self._key == Qt.Key.Key_Up else 0.99) <= 100:
            self._key = Qt.Key.Key_Up if self._key == Qt.Key.Key_Down else Qt.Key.Key_Down
        self._waiting, self._ready = True, False
        self._sent = time.perf_counter()
        QTest.keyClick(self._field, self._key)
        spec = self._window.preview.spec
        if spec is None or spec in self._seen:
            raise RuntimeError(f"a key did not lead to a new scheme: {spec}")
        self._seen.add(spec)

    def _on_analyzed(self, analysis: Analysis) -> None:
        if self._waiting and analysis.spec == self._window.preview.spec:
            self._ready, self._shown = True, analysis

    def _on_painted(self) -> None:
        if not self._waiting:
            return
        now = time.perf_counter()
        self._waiting = self._ready = False
        self.seconds.append(now - self._sent)
        coverage = self._shown.coverage.split()[0] if self._shown else ""
        self.coverage[coverage] = self.coverage.get(coverage, 0) + 1
        if len(self.seconds) == self._changes or now - self._began > PATIENCE_S:
            self._loop.quit()
        else:
            later(self._sent + FRAME_S - now, self._press)


def work(path: str, granularity: str, quick: bool) -> dict[str, Any]:
    """The worker: a window on the file, the keys, then the peer; the last picture's exact figures are compared."""
    spec = QuantSpec.from_json({"format": "int8", "observer": "percentile:100", "granularity": granularity})
    with shown_window(AppState(path=path, recipe=Recipe.of_weights(spec))) as window:
        exact = window.preview.analysis
        slider = Slider(window, QUICK_CHANGES if quick else CHANGES)
        slider.run()
    if exact is None:
        raise LookupError("the window shows no tensor")
    x = torch.from_numpy(data.float32(quick))
    name, rows = ("torch.histc notebook", x) if granularity == "tensor" else ("torch.histc notebook by rows", x)
    if granularity.startswith("group"):
        rows = x.view(-1, int(granularity.partition(":")[2]))
    notebook = torch_notebook if granularity == "tensor" else torch_rows_notebook
    _require_same_error(name, exact, rows)
    seconds = alternate({"peer": lambda: notebook(rows, MOST, exact.bins, exact.error_bins)}, data.runs(quick))
    return {"seconds": slider.seconds, "coverage": slider.coverage, "peer": name, "peer_s": seconds["peer"]}


def _require_same_error(name: str, exact: Analysis, rows: torch.Tensor) -> None:
    scale = torch.from_numpy(exact.params.scale.copy())
    rows = rows.reshape(len(scale), -1)
    zero = torch.zeros(len(scale), dtype=torch.int32)
    error = torch.fake_quantize_per_channel_affine(rows, scale, zero, 0, -MOST, MOST).sub_(rows).view(-1)
    require_close(f"{name}, MSE", exact.metrics.mse, mean_square(error), TOLERANCE)
