import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qexplorer.engine.measuring.evaluate import evaluate, wilson_interval
from qexplorer.errors import UserError
from qexplorer.progress import finish


class Echo(nn.Module):
    """Images whose pixels are the logits themselves."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def logits(best: list[list[int]]) -> np.ndarray:
    """[N, 1, 1, 10] in which the classes of each row stand in descending order."""
    x = np.full((len(best), 1, 1, 10), -1, np.float32)
    for row, classes in zip(x, best, strict=True):
        row[0, 0, classes] = np.arange(len(classes), 0, -1)
    return x


def test_top1_counts_the_first_and_top5_the_first_five() -> None:
    x = logits([[3, 1, 2, 4, 5, 6], [1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5]])
    found = finish(evaluate(Echo(), x, np.array([3, 5, 5]), batch_size=2))
    assert found.n == 3
    assert found.top1 == pytest.approx(1 / 3)
    assert found.top5 == pytest.approx(2 / 3)
    assert found.predictions.tolist() == [3, 1, 0]


@pytest.mark.parametrize("classes", [3, 10, 1000])
@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_outputs_that_tie_are_decided_as_argmax_does(classes: int, batch_size: int) -> None:
    random = np.random.default_rng(classes)
    x = np.round(random.normal(size=(300, 1, 1, classes)) * 2).astype(np.float32) * np.float32(0.1)  # int8 logits
    x[:2] = x[0, 0, 0, 0]
    y = random.integers(0, classes, 300)
    own = np.array([x[i, 0, 0, label] for i, label in enumerate(y)])[:, None]
    before = (x[:, 0, 0] > own) | ((x[:, 0, 0] == own) & (np.arange(classes) < y[:, None]))
    found = finish(evaluate(Echo(), x, y, batch_size=batch_size))
    assert found.predictions.tolist() == x[:, 0, 0].argmax(axis=1).tolist()
    assert found.top1 == np.mean(found.predictions == y)
    assert found.top5 == np.mean(before.sum(axis=1) < 5)


def test_every_batch_is_reported_and_none_is_run_in_inference_mode_outside() -> None:
    steps = evaluate(Echo(), logits([[1]] * 5), np.ones(5, np.int64), batch_size=2)
    reports = []
    for step in steps:
        assert not torch.is_inference_mode_enabled()
        reports.append((step.done, step.total))
    assert reports == [(0, 5), (2, 5), (4, 5)]


def test_outputs_that_are_not_finite_are_refused() -> None:
    with pytest.raises(UserError, match="not finite"):
        finish(evaluate(Echo(), np.full((2, 1, 1, 10), np.nan, np.float32), np.zeros(2, np.int64)))


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_interval_agrees_with_published_values(correct: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(correct, n) == pytest.approx((low, high), abs=5e-5)
