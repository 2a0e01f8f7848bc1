"""The columns of the table of a study: what each run differs in, how far it is, and what came of its last model."""

from collections.abc import Callable

from qexplorer import numbers
from qexplorer.engine.runs.results import Row
from qexplorer.engine.studies.status import RUNNING, RunStatus
from qexplorer.widgets.lines import NONE, Column


def _last(title: str, meaning: str, sample: str, text: Callable[[Row], str]) -> Column[RunStatus]:
    """A column of the last model of a run that is done."""
    return Column(title, meaning, sample, lambda run: text(run.rows[-1]) if run.rows else NONE)


COLUMNS = (
    Column[RunStatus]("Run", "What it differs in from the other runs of the study",
                      "mobilenet_v2_digits, int4 channel mse, fold", lambda run: run.label, right=False),
    Column[RunStatus]("Status", "How far it is", "running 100 %",
                      lambda run: f"{run.status} {run.fraction * 100:.0f} %" if run.status == RUNNING else run.status,
                      right=False),
    _last("Top-1", "Share of test samples whose first guess is right", "100.00 % ",
          lambda row: numbers.percent(row.top1)),
    _last("95 % interval", "Wilson's interval: it holds the true share with 95 % confidence", "98.3 – 99.3 % ",
          lambda row: numbers.interval(row.top1_ci95)),
    _last("Theoretical", "The size of all numbers of the model in their formats; what its file takes stands in Runs",
          "Theoretical", lambda row: numbers.size(row.bytes_theoretical)),
    Column[RunStatus]("Seconds", "How long it took", "1,000.0 ",
                      lambda run: f"{run.seconds:.1f}" if run.seconds else NONE),
    Column[RunStatus]("Remark", "What it is doing, or why it failed", "Measuring accuracy",
                      lambda run: run.error or run.phase, right=False),
)  # fmt: skip
