"""Training that makes a model worse says so, and one whose loss runs away is stopped and explained."""

import itertools
from typing import Any

import pytest

from qexplorer.engine.advice import advise_on
from qexplorer.engine.jobs import jobs
from qexplorer.engine.qat.train import Trainer
from qexplorer.engine.runs.results import RunResult
from qexplorer.errors import UserError
from qexplorer.progress import finish
from tests.few_digits import few_digits

SMALL: dict[str, Any] = {"model": "vit_digits", "data": few_digits(), "threads": 1, "timing": "off", "batch": 36,
                         "calibration": 16, "limit": 32}  # fmt: skip


def trained(**settings: Any) -> RunResult:
    return finish(jobs["qat"](**{**SMALL, **settings}).run())


def test_a_loss_far_above_that_of_the_start_stops_training_which_keeps_the_best_epoch_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, steps = Trainer.loss, itertools.count()
    monkeypatch.setattr(Trainer, "loss", lambda *args: own(*args) * (1 if next(steps) < 4 else 10))  # of 4 an epoch
    result = trained(rate=1e-4, epochs=2)
    stopped = result.findings.stopped
    assert "Training diverged in epoch 2: the mean loss is" in stopped
    assert "at first, at a learning rate of 0.0001. The best epoch before it was kept." in stopped
    assert [point.best for point in result.history] == [True]
    assert stopped in result.rows[1].note
    assert result.rows[1].top1 > 0.9
    assert [(advice.sentence, advice.settings) for advice in advise_on(result)] == [(stopped, {"rate": 1e-5})]


def test_a_loss_that_runs_away_in_the_first_epoch_leaves_nothing_to_keep() -> None:
    with pytest.raises(UserError, match=r"diverged in epoch 1: the mean loss is .* Lower the learning rate") as caught:
        trained(rate=5.0, epochs=1)
    assert caught.value.field == "rate"


def test_training_that_ends_worse_than_it_began_says_so_and_advises_a_smaller_rate() -> None:
    result = trained(rate=0.05, epochs=1)
    assert result.rows[1].top1 < 0.5
    worse = result.findings.worse
    assert worse.startswith("Training made it worse: of 16 validation samples 100.0% were right before it and ")
    assert worse in result.rows[1].note
    (advice,) = advise_on(result)
    assert advice.sentence == worse
    assert (advice.job, advice.settings) == ("qat", {"rate": 0.0005})


def test_training_that_keeps_what_it_began_with_has_nothing_to_say() -> None:
    result = trained(rate=1e-4, epochs=1)
    assert (result.findings.stopped, result.findings.worse) == ("", "")
    assert advise_on(result) == []
