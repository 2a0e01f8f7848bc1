"""The test set of a data set that has none of its own."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qexplorer.errors import UserError

NOTE = "No test part: a seeded fifth of the samples is the test set."
ONE_IN = 5


def shuffled(n: int) -> NDArray[np.int64]:
    """The numbers below `n` in an order of chance that is always the same."""
    return np.random.default_rng(0).permutation(n)


def holdout(n: int, where: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of the `n` samples at `where` train and which test: a fifth of them, at least one, in `shuffled` order.

    Raises `UserError` where there are too few to leave something on both sides.
    """
    if n < 2:
        raise UserError(f"{where} has a single sample; one is needed to train and another to test.", field="data")
    order, n_test = shuffled(n), max(1, round(n / ONE_IN))
    return order[n_test:], order[:n_test]
