"""The window's heartbeat while the sample model trains on all cores in the same process."""

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PySide6.QtCore import QEventLoop, QObject, Qt, QTimer
from PySide6.QtWidgets import QApplication

from qexplorer.engine.datasets import open_dataset
from qexplorer.engine.models import models
from qexplorer.progress import Progress, Steps, finish
from qexplorer.state.runner import Runner

from . import data
from .figures import Figure, at_most, say
from .windows import later, shown_window, wait
from .workers import run_worker

BEAT_MS = 5
SECONDS, QUICK_SECONDS = 6.0, 2.0
BATCH = 64
P99_S, MAX_S = 0.033, 0.150


def measure(names: Sequence[str], quick: bool) -> Iterator[Figure]:
    """The one figure there is."""
    del names
    runs = data.runs(quick)
    ours: list[dict[str, Any]] = []
    bare: list[dict[str, Any]] = []
    say("training beside a window")
    for _ in range(runs):
        ours.append(run_worker("heartbeats", window=True, quick=quick))
        bare.append(run_worker("heartbeats", window=False, quick=quick))
    p99, bare_p99 = (statistics.median(each["p99_s"] for each in found) for found in (ours, bare))
    worst = max(each["max_s"] for each in ours)
    beats, batches = (sum(each[key] for each in ours) for key in ("beats", "batches"))
    yield Figure(
        name="heartbeat",
        work="event-loop delay of the window while the sample model trains on all cores beside it, p99",
        ours_s=p99,
        peer="a bare window beside the same training",
        peer_s=bare_p99,
        limit=f"{P99_S * 1000:g} ms",
        limit_s=P99_S,
        runs=runs,
        bars=(
            at_most(f"p99 <= {P99_S * 1000:g} ms", p99, P99_S),
            at_most(f"max <= {MAX_S * 1000:g} ms", worst, MAX_S),
        ),
        note=f"p99 {p99 * 1000:.1f} ms, max {worst * 1000:.1f} ms over {beats:,} beats and {batches:,} batches of "
        f"{BATCH}; the bare window's max {max(each['max_s'] for each in bare) * 1000:.1f} ms",
        more={"p99_s": p99, "max_s": worst, "beats": beats, "batches": batches},
    )


class Heart(QObject):
    """A timer of 5 ms, and by how much each of its beats came late."""

    def __init__(self) -> None:
        super().__init__()
        self.late: list[float] = []
        self._last = 0.0
        self._timer = QTimer(self, interval=BEAT_MS, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._on_beat)

    def start(self) -> None:
        """Begin to beat."""
        self._last = time.perf_counter()
        self._timer.start()

    def stop(self) -> None:
        """Stop beating."""
        self._timer.stop()

    def _on_beat(self) -> None:
        now = time.perf_counter()
        self.late.append(max(0.0, now - self._last - BEAT_MS / 1000))
        self._last = now


def train() -> Steps[None]:
    """Train the sample model without end, on all cores; each step is one batch."""
    import torch
    from torch.nn import functional as F  # noqa: N812  torch's own name for it

    data.threads()
    digits = finish(open_dataset("digits"))
    net = finish(models["mobilenet_v2_digits"]().load(None)).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    x, y = torch.tensor(digits.x_train), torch.tensor(digits.y_train)
    done = 0
    while True:
        for at in range(0, len(x) - BATCH, BATCH):
            loss = F.cross_entropy(net(x[at : at + BATCH]), y[at : at + BATCH])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
            yield Progress("Training", done)


def work(window: bool, quick: bool) -> dict[str, Any]:
    """The worker: the heart beats in the program's window, or in a bare one, while the training runs."""
    if window:
        from qexplorer.app import first_state

        with shown_window(first_state()) as shown:
            return _beats(shown.jobs, quick)
    import pyqtgraph as pg

    app = pg.mkQApp()
    plot = pg.PlotWidget()
    plot.plot([0.0, 1.0, 2.0])
    plot.resize(1440, 900)
    plot.show()
    runner = Runner("jobs", parent=app)
    try:
        return _beats(runner, quick)
    finally:
        runner.close()
        plot.close()
        QApplication.processEvents()


def _beats(runner: Runner, quick: bool) -> dict[str, Any]:
    task = runner.submit(train(), "Training")
    wait(lambda: bool(task.outcome) or (task.progress is not None and task.progress.done > 2))
    before = task.progress.done if task.progress else 0
    heart, loop = Heart(), QEventLoop()
    heart.start()
    later(QUICK_SECONDS if quick else SECONDS, loop.quit)
    loop.exec()
    heart.stop()
    if task.outcome is not None:
        raise RuntimeError(f"the training ended: {task.outcome}")
    done = task.progress.done if task.progress else 0
    runner.cancel(task)
    wait(lambda: task.outcome is not None)
    late = np.array(heart.late)
    return {
        "p99_s": float(np.percentile(late, 99)),
        "max_s": float(late.max()),
        "beats": len(late),
        "batches": done - before,
    }
