"""Runs of PTQ that training can go on from: which ones will do, and what it takes over from them."""

from typing import Any

from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.record import job_of
from qexplorer.engine.jobs.simulated_job import SimulatedJob
from qexplorer.engine.runs.findings import EarlierRun
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.journal import Journal
from qexplorer.engine.runs.results import SIMULATED, RunResult
from qexplorer.engine.runs.run import Run
from qexplorer.errors import UserError
from qexplorer.quant.recipe import FLOAT, FLOATS
from qexplorer.settings import read, schema, write
from qexplorer.text import printable

TAKEN = ("weight_spec", "activation_spec", "overrides", "repairs", "calibration")
"""The settings that are those of the run."""
SAME = ("model", "data", "weights")
"""The settings by which runs are offered; whether they fit is decided by fingerprints."""
OFFERED = 20
START = "qat/start"
"""Where the journal of training has what is to be known of the run."""


def origin(run: Run) -> SimulatedJob:
    """The job of a run that training can go on from. Raises `UserError` for any other run."""
    name = f"The run “{printable(run.run_id)}”"
    trainable = [job.name for job in jobs if job.trainable]
    if run.job not in trainable:
        raise UserError(f"{name} is of the job {run.job}, which training cannot go on from.",
                        f"Choose one of {' or '.join(trainable)}.", field="start")  # fmt: skip
    if run.status != "done":
        raise UserError(f"{name} is {run.status}, so there is nothing yet to train on.",
                        "Choose a finished run, or resume it first.", field="start")  # fmt: skip
    job = job_of(run)
    if not isinstance(job, SimulatedJob) or job.recipe().every.weights is None:
        raise UserError(f"{name} has no simulation of quantized weights, which is what can be trained on.",
                        "Run it again with a weight spec, such as “int8 channel”.", field="start")  # fmt: skip
    return job


def settings_of(run: Run) -> dict[str, Any]:
    """What training takes over from a run. Raises `UserError` as `origin` does."""
    job = origin(run)
    return {name: _plain(name, getattr(job, name)) for name in TAKEN}


def _plain(name: str, value: Any) -> Any:
    """A setting in one of the words that mean the same."""
    return FLOAT if name == "activation_spec" and value.strip() in ("", *FLOATS) else value


def settled(job: SimulatedJob, run_id: str, history: History) -> dict[str, Any]:
    """The settings that `job` takes over from that run.

    Raises `UserError` where there is none that will do, where it is of another model, and where `job` has a setting of
    its own that is neither the run's nor the default.
    """
    try:
        run = history.get(run_id)
    except UserError as error:
        raise UserError(error.what, f"Write float, ptq or a run's id: {error.remedy}", field="start") from error
    settings, name = settings_of(run), f"The run “{printable(run_id)}”"
    model = origin(run).model
    if model != job.model:
        what = f"{name} is of the model {printable(model)}, not of {printable(job.model)}."
        raise UserError(what, "Use that model, or choose another run.", field="start")
    for f in schema(type(job)):
        own = _plain(f.name, getattr(job, f.name))
        if f.name in settings and own not in (f.default, settings[f.name]):
            what = f"{name} has {f.title.lower()} “{settings[f.name]}”, not “{own}”."
            raise UserError(what, "Leave it out, for the run's is taken; or start from float or ptq.", field=f.name)
    return settings


def facts_of(run: Run) -> EarlierRun:
    """What a run that went on from this one says of it: the fingerprints that have to be the same, its seed, and how
    good its simulation was. Raises `UserError` where the result cannot be read.
    """
    origin(run)
    result = RunResult.from_json(run.result_json or "")
    row = next((row for row in reversed(result.rows) if row.kind == SIMULATED), None)
    if row is None:
        raise UserError(f"The run “{printable(run.run_id)}” has no simulated result.", "Run it again.", field="start")
    return EarlierRun(run.run_id, run.job, row.name, row.top1, result.seed, result.model.sha256, result.data.sha256)


def earlier_run(journal: Journal) -> EarlierRun | None:
    """The run that training goes on from, if it does and the journal knows it by now."""
    found = journal.get(START)
    return None if found is None else read(EarlierRun, found, "the run that is started from")


def enter(run_id: str, history: History, journal: Journal) -> None:
    """Enter into a journal what is to be known of the run that is started from, if it is not there yet."""
    if earlier_run(journal) is None:
        journal.put(START, write(facts_of(history.get(run_id))))


def check_same(run_id: str, model: str, data: str, journal: Journal) -> None:
    """Raise a `UserError` where the run that is started from is not of this model and these data, by their SHA-256."""
    earlier = earlier_run(journal)
    if earlier is None:
        what = f"The run “{printable(run_id)}” is not known here: this run is in no history, or in another machine's."
        raise UserError(what, "Run it where the history is.", field="start")
    for kind, there, own in (("weights", earlier.model, model), ("data", earlier.data, data)):
        if there != own:
            what = f"The run “{run_id}” had other {kind}: SHA-256 {there[:12]}, not {own[:12]}."
            raise UserError(what, "Use those, or choose another run.", field="start")


def offers(job: SimulatedJob, history: History) -> dict[str, str]:
    """The newest runs that `job` may go on from, each with its settings and accuracy in a line."""
    found: dict[str, str] = {}
    for run in history.runs():
        try:
            own = origin(run)
            if all(getattr(own, name) == getattr(job, name) for name in SAME):
                figures = (own.recipe().every.text, own.repairs, f"{100 * facts_of(run).top1:.1f} %")
                found[run.run_id] = " · ".join((run.run_id, *filter(None, figures)))
        except UserError:
            continue
        if len(found) == OFFERED:
            break
    return found
