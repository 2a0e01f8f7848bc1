"""Runs side by side: who is right where the other is wrong, and how surely that is no chance."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import RunResult
from qexplorer.errors import UserError
from qexplorer.presentation import Paired
from qexplorer.text import printable


@dataclass(frozen=True)
class Candidate:
    """One row of a run: the class that it gave each test sample, and the samples' labels, both [n].

    `data` is the fingerprint of the data set that the samples come from.
    """

    run_id: str
    row: str
    predictions: NDArray[np.int64]
    labels: NDArray[np.int64]
    data: str


def candidate(history: History, run_id: str, row: str = "") -> Candidate:
    """A row of a run, the last one where none is named.

    Raises `UserError` where there is no such run, it is not done, or its predictions were not kept.
    """
    run = history.get(run_id)
    if run.result_json is None:
        what = f"The run “{printable(run_id)}” has no predictions to compare: it is {run.status}."
        raise UserError(what, "Choose one that is done.", field="run_id")
    result = RunResult.from_json(run.result_json)
    row = row or result.rows[-1].name
    predictions, labels = history.predictions(run_id), history.labels(run_id)
    if row not in predictions or labels is None:
        what = f"The predictions of {printable(row)} in run {printable(run_id)} were not kept."
        raise UserError(what, "Run it again.", field="run_id")
    return Candidate(run_id, row, predictions[row], labels, result.data.sha256)


def paired(first: Candidate, second: Candidate) -> Paired:
    """The two on the same samples. Raises `UserError` where they were not tested on the same ones."""
    if first.data != second.data or not np.array_equal(first.labels, second.labels):
        raise UserError("The two were not tested on the same samples, so they cannot be paired.",
                        "Run both on the same data with the same number of test samples.", field="run_id")  # fmt: skip
    a, b = first.predictions == first.labels, second.predictions == second.labels
    only_first, only_second = int((a & ~b).sum()), int((~a & b).sum())
    return Paired(int((a & b).sum()), only_first, only_second, int((~a & ~b).sum()), mcnemar(only_first, only_second),
                  np.flatnonzero(first.predictions != second.predictions))  # fmt: skip


def mcnemar(only_first: int, only_second: int) -> float:
    """The chance, if both are equally often right, of so uneven a split of the samples on which just one is.

    McNemar 1947 in its exact form: twice the binomial tail of n = b + c tries at ½, at most 1. Its terms are summed
    from the largest down as far as they count in float64: C(n, k − 1) = C(n, k)·k / (n − k + 1).
    """
    n, k = only_first + only_second, min(only_first, only_second)
    if n - k - k <= 1:  # as even as can be
        return 1.0
    term = math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))
    tail = 0.0
    while term > tail * 1e-17:
        tail += term
        term *= k / (n - k + 1)
        k -= 1
    return min(1.0, 2 * tail)
