"""The runs of a study in this process, one after the other."""

from dataclasses import replace

from qexplorer.engine.jobs.record import recorded, resumed
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import RunResult
from qexplorer.engine.studies.manifest import Manifest
from qexplorer.engine.studies.status import RUNNING, StudyStatus
from qexplorer.engine.studies.study import StudyRun
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, mapped
from qexplorer.settings import write


def run_locally(status: StudyStatus, history: History, manifest: Manifest) -> Steps[None]:
    """Run what is left; a run that was started earlier continues from its last finished step.

    Raises `UserError` before the first run starts, where one of them could not start.
    """
    for run in status.left:
        yield status.progress("Checking the runs")
        run.job.check()
    for run in status.left:
        run_id = status[run.key].run_id
        steps = resumed(run_id, history) if run_id else _new(run, status, history, manifest)
        try:
            status.finish(run.key, (yield from _reported(steps, run, status)))
        except UserError as error:
            _record_failure(run, status[run.key].run_id, history, str(error))
            status.fail(run.key, str(error))
        yield status.progress(f"{_title(run, status)}: {status[run.key].status}")


def _new(run: StudyRun, status: StudyStatus, history: History, manifest: Manifest) -> Steps[RunResult]:
    run_id = history.new_id(run.job.name)
    manifest.add(run.key, run_id)
    status.change(run.key, run_id=run_id)
    return (yield from recorded(run.job, history, run_id))


def _reported(steps: Steps[RunResult], run: StudyRun, status: StudyStatus) -> Steps[RunResult]:
    """Run the steps of one run and report each as progress of the whole study."""
    title = _title(run, status)

    def report(step: Progress) -> Progress:
        fraction = max(status[run.key].fraction, step.fraction or 0.0)
        status.change(run.key, phase=str(step), fraction=fraction)
        return replace(status.progress(f"{title}: {step.phase}"), timed=step.timed)

    status.change(run.key, status=RUNNING)
    yield status.progress(title)
    return (yield from mapped(steps, report))


def _title(run: StudyRun, status: StudyStatus) -> str:
    return f"{run.number}/{len(status.study.runs)} {run.label}"


def _record_failure(run: StudyRun, run_id: str, history: History, error: str) -> None:
    """Record the failure of a run that failed before it was in the history."""
    try:
        history.get(run_id)
    except UserError:
        history.start(run.job.name, write(run.job), run_id)
        history.fail(run_id, error)
