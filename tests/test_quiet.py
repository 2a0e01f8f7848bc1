"""Nothing disturbs a job while it measures latency."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytestqt.qtbot import QtBot
from safetensors.numpy import save_file

from qexplorer.engine.measuring.latency import measure_latency
from qexplorer.inspection.analyses import Analyses
from qexplorer.main_window import MainWindow
from qexplorer.progress import Progress, Steps
from qexplorer.quant import QuantSpec
from qexplorer.quant.recipe import Recipe
from qexplorer.state.app_state import AppState
from qexplorer.state.surveys import KINDS

Open = Callable[..., MainWindow]


class Work:
    """Background work that goes on until it is let go; how many steps it has made."""

    def __init__(self) -> None:
        self.steps = 0
        self.free = threading.Event()

    def endless(self) -> Steps[None]:
        while not self.free.wait(0.001):
            self.steps += 1
            yield Progress("Turning")


class Timed(torch.nn.Module):
    """What is timed; it notes how many steps others made meanwhile, and can be kept waiting."""

    def __init__(self, others: list[Work]) -> None:
        super().__init__()
        self.others, self.free = others, threading.Event()
        self.seen: list[list[int]] = []
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append([work.steps for work in self.others])
        self.free.wait(0.05)
        return x


@pytest.fixture
def file(tmp_path: Path) -> str:
    rng = np.random.default_rng(1)
    save_file({name: rng.normal(size=(8, 64)).astype(np.float32) for name in "ab"}, tmp_path / "w.safetensors")
    return str(tmp_path / "w.safetensors")


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch) -> Work:
    """The scan of the file's tensors takes for ever."""
    work, measure = Work(), Analyses.measure

    def slow(*args: Any, **options: Any) -> Steps[Any]:
        yield from work.endless()
        return (yield from measure(*args, **options))

    monkeypatch.setattr(Analyses, "measure", slow)
    return work


@pytest.fixture
def survey(monkeypatch: pytest.MonkeyPatch) -> Work:
    """So does the comparison of formats."""
    work, make = Work(), KINDS["formats"].make

    def slow(*args: Any, **options: Any) -> Steps[Any]:
        yield from work.endless()
        return (yield from make(*args, **options))

    monkeypatch.setitem(KINDS, "formats", replace(KINDS["formats"], make=slow))
    return work


@pytest.mark.parametrize("what", ["scan", "survey"])
def test_background_work_makes_no_step_while_a_job_is_timing(
    qtbot: QtBot, open_window: Open, file: str, scan: Work, survey: Work, what: str
) -> None:
    window = open_window(AppState(path=file, tensor="a"), settle=False)
    own = {"scan": scan, "survey": survey}[what]
    qtbot.waitUntil(lambda: scan.steps > 5)
    window.surveys.watch("formats", what == "survey")
    qtbot.waitUntil(lambda: own.steps > 5)
    timed = Timed([scan, survey])
    task = window.jobs.submit(measure_latency({"timed": timed}, (1,), (1,)), "timing")
    qtbot.waitUntil(lambda: len(timed.seen) > 4)
    window.store.update(recipe=Recipe.of_weights(QuantSpec.from_json({"format": "int3"})))
    qtbot.waitUntil(  # what the person looks at is answered nevertheless
        lambda: (
            window.preview.analysis is not None
            and window.preview.analysis.spec == window.store.state.recipe.every.weights
        )
    )
    qtbot.wait(500)
    timed.free.set()
    qtbot.waitUntil(lambda: task.outcome is not None, timeout=30_000)
    assert len(timed.seen) > 10
    assert all(seen == timed.seen[0] for seen in timed.seen)
    before = own.steps
    qtbot.waitUntil(lambda: own.steps > before + 5, timeout=10_000)
    scan.free.set()
    survey.free.set()
    qtbot.waitUntil(lambda: window.settled)
    assert window.layers.scan is not None
    assert window.layers.scan.complete
