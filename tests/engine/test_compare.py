import time

import numpy as np
import pytest
from scipy.stats import binomtest

from qexplorer.engine.runs.compare import Candidate, candidate, mcnemar, paired
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.journal import EVALUATED
from qexplorer.engine.runs.results import Row
from qexplorer.errors import UserError
from tests.results import a_result

TABLES = [(0, 0), (1, 0), (0, 60), (5, 5), (7, 6), (3, 12), (20, 41), (0, 1000), (5000, 5200), (4000, 6000),
          (500_000, 500_000), (499_000, 501_000), (490_000, 510_000), (0, 1_000_000)]  # fmt: skip


@pytest.mark.parametrize(("b", "c"), TABLES)
def test_mcnemar_is_the_binomial_test_at_once(b: int, c: int) -> None:
    expected = binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    start = time.process_time()
    found = mcnemar(b, c), mcnemar(c, b)
    assert time.process_time() - start < 0.05
    assert found == pytest.approx((expected, expected), rel=1e-8, abs=0)


def test_two_rows_are_paired_sample_by_sample() -> None:
    labels = np.array([0, 1, 2, 3, 4])
    first = Candidate("a", "x", np.array([0, 1, 2, 0, 0]), labels, "d")
    second = Candidate("b", "y", np.array([0, 1, 0, 3, 1]), labels, "d")
    found = paired(first, second)
    assert (found.both, found.only_first, found.only_second, found.neither) == (2, 1, 1, 1)
    assert found.changed.tolist() == [2, 3, 4]
    assert found.p == 1.0


def test_rows_of_other_samples_are_not_paired() -> None:
    labels = np.array([0, 1])
    first = Candidate("a", "x", labels, labels, "d")
    with pytest.raises(UserError, match="not tested on the same samples"):
        paired(first, Candidate("b", "y", labels, labels, "e"))
    with pytest.raises(UserError, match="not tested on the same samples"):
        paired(first, Candidate("b", "y", labels[:1], labels[:1], "d"))


def test_a_run_without_predictions_is_told(history: History) -> None:
    run_id = history.start("evaluate", {})
    history.fail(run_id, "The disk is full.")
    with pytest.raises(UserError, match="no predictions to compare: it is failed"):
        candidate(history, run_id)
    with pytest.raises(UserError, match="There is no run “nonsense”"):
        candidate(history, "nonsense")
    done = history.start("evaluate", {})
    row = Row("fp32", "REAL", "float", 10, 10, 0.5, (0.2, 0.8), 1.0, 2, 0, {}, 1)
    model, data = {"name": "m", "sha256": "a"}, {"name": "d", "calibration_n": 0, "sha256": "b"}
    history.finish(done, a_result("evaluate", row, run_id=done, model=model, data=data).to_json())
    with pytest.raises(UserError, match=f"of fp32 in run {done} were not kept"):
        candidate(history, done)
    history.journal(done).put(f"{EVALUATED}fp32", {"predictions": [1, 0], "labels": [1, 1]})
    assert candidate(history, done).predictions.tolist() == [1, 0]
