"""A study of one run, and what its worker does."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from qexplorer.cluster.mailbox import Mailbox
from qexplorer.engine.jobs.evaluate import Evaluate
from qexplorer.engine.runs.history import History
from qexplorer.engine.studies.status import StudyProgress, StudyResult
from qexplorer.engine.studies.study import Study, StudyRun
from qexplorer.progress import Steps
from tests.cluster.fake_dask import FakeDask, is_idle

ON = "tcp://127.0.0.1:1"
OTHER = "tcp://w:2"
STUDY = Study("one", (StudyRun(1, "a-run", Evaluate(), {}),))
CHUNK = 1000
CONTENT = np.random.default_rng(0).bytes(4567)
Start = Callable[..., FakeDask]


def until_idle() -> None:
    """No worker has a run any more."""
    until = time.monotonic() + 5
    while not is_idle():
        assert time.monotonic() < until
        time.sleep(0.01)


def advance(steps: Steps[StudyResult], until: Callable[[], object]) -> StudyProgress:
    """Step until something is so."""
    for step in steps:
        assert isinstance(step, StudyProgress)
        if until():
            return step
    raise AssertionError("the study ended before")


def wait(mailbox: Mailbox) -> None:
    """Work until nobody wants it any more."""
    while True:
        mailbox.check_wanted()
        threading.Event().wait(0.02)


def files(history: History) -> list[str]:
    (run,) = history.runs()
    return sorted(path.name for path in history.folder(run.run_id).glob("**/*") if path.is_file())


def layers(history: History, run_id: str) -> list[str]:
    """The layers of a run that are finished."""
    return [key for key in history.journal(run_id).keys("layer/") if not key.endswith("/notes")]


def has_steps(history: History, n: int) -> bool:
    """Whether `n` runs have a layer that is finished."""
    return sum(bool(layers(history, run.run_id)) for run in history.runs()) == n


def check_files(history: History, run_id: str, result: dict[str, Any]) -> None:
    """A run has the file of its model, as a run of this process has."""
    folder = history.folder(run_id)
    assert result["artifact"] == str(folder)
    assert [row["artifact"] for row in result["rows"]] == [None, str(folder / "model_1.pt")]
    assert [path.name for path in folder.iterdir()] == ["model_1.pt"]
    assert (folder / "model_1.pt").stat().st_size == result["rows"][1]["bytes_on_disk"]


def equal_states(one: str | None, other: str | None) -> bool:
    import torch

    states = [torch.load(file or "", weights_only=True) for file in (one, other)]
    return states[0].keys() == states[1].keys() and all(torch.equal(states[0][k], states[1][k]) for k in states[0])
