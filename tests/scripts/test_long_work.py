"""Training and the ladder keep what is done as they go, and go on with it to the same end."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from few_digits import few_digits
from ladder import result_of
from make_samples import Recipe, train
from torch import nn

from qexplorer.engine.datasets import Data, open_dataset
from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.record import recorded
from qexplorer.engine.runs.history import History
from qexplorer.folders import write_whole
from qexplorer.progress import finish


def small_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(1024, 10), nn.BatchNorm1d(10))


RECIPE = Recipe(small_network, "small", "small", 4, 4, 1e-2)


@pytest.fixture(scope="module")
def data() -> Data:
    return finish(open_dataset(few_digits()))


def weights(data: Data, out: Path, seed: int = 0) -> dict[str, torch.Tensor]:
    net, _ = train(RECIPE, data, 4, seed, out)
    return net.state_dict()


def stop_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever trains be stopped once so many epochs are kept."""
    left = iter(range(1, 100))

    def write_and_stop(path: Path, content: bytes) -> int:
        size = write_whole(path, content)
        if next(left) == epochs:
            raise KeyboardInterrupt
        return size

    monkeypatch.setattr("_training_state.write_whole", write_and_stop)


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(data, tmp_path, monkeypatch, capsys):
    undisturbed = weights(data, tmp_path / "undisturbed")
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(KeyboardInterrupt):
            weights(data, tmp_path / "stopped")
    capsys.readouterr()
    assert same(weights(data, tmp_path / "stopped"), undisturbed)
    out = capsys.readouterr().out
    assert "going on after epoch 3" in out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("epoch")] == ["4/4"]


@pytest.mark.parametrize("kept", ["another seed", "damaged"])
def test_what_another_training_or_a_damaged_file_left_is_not_gone_on_with(data, tmp_path, kept):
    out = tmp_path / "out"
    weights(data, out, seed=1)
    if kept == "damaged":
        path = out.with_name("out.training")
        path.write_bytes(path.read_bytes()[:-500])
    assert same(weights(data, out), weights(data, tmp_path / "new"))


JOB = replace(jobs["evaluate"](data=few_digits()), timing="off")


def test_a_rung_that_is_done_is_not_run_again(tmp_path):
    history = History(tmp_path / "history.sqlite3")
    first = result_of(JOB, history)
    assert result_of(JOB, History(tmp_path / "history.sqlite3")) == first
    assert result_of(replace(JOB, seed=1), history).run_id != first.run_id
    assert len(history.runs()) == 2


def test_a_rung_that_was_interrupted_is_gone_on_with(tmp_path):
    history = History(tmp_path / "history.sqlite3")
    steps = recorded(JOB, history)
    next(steps)
    steps.close()
    [run] = history.runs()
    assert result_of(JOB, history).run_id == run.run_id
