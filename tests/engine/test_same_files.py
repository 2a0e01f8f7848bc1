"""A run that goes on with the files it began with, or not at all."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.record import recorded, resumed
from qexplorer.engine.runs.history import History
from qexplorer.errors import UserError
from qexplorer.progress import finish
from qexplorer.resources import resource

SMALL: dict[str, Any] = {"limit": 24, "threads": 1, "timing": "off", "calibration": 16}
PARTS = (("", 40), ("_test", 30))


def test_other_weights_or_data_end_a_run_that_goes_on(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite3")
    weights, data = tmp_path / "own.safetensors", tmp_path / "own.npz"
    shutil.copy(resource("vit_digits.safetensors"), weights)
    chance = np.random.default_rng(0)
    own = {f"x{part}": chance.random((n, 1, 32, 32), np.float32) for part, n in PARTS}
    labels = {f"y{part}": np.arange(n) % 10 for part, n in PARTS}
    np.savez(data, **own, **labels)
    job = jobs["weight-only"](**SMALL, model="vit_digits", weights=str(weights), data=str(data), weight_spec="int4")
    steps = recorded(job, history)
    while "Quantizing" not in next(steps).phase:
        pass
    steps.close()
    (run,) = history.runs()

    tensors = load_file(weights)
    bias = tensors["head.bias"]
    save_file({**tensors, "head.bias": bias + 1}, weights)
    with pytest.raises(UserError, match="weights are not those that the run began with") as caught:
        finish(resumed(run.run_id, history))
    assert caught.value.field == "weights"

    shutil.copy(resource("vit_digits.safetensors"), weights)
    np.savez(data, **{**own, "x_test": own["x_test"] / 2}, **labels)
    with pytest.raises(UserError, match="data are not those that the run began with"):
        finish(resumed(run.run_id, history))

    np.savez(data, **own, **labels)
    assert finish(resumed(run.run_id, history)).rows[1].kind == "SIMULATED"
