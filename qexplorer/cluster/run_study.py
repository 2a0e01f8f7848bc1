"""Run a study: finished runs are taken from the history, the others run here or on a cluster."""

from qexplorer.cluster.address import LOCAL, NO_TLS, Tls, parse_address
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import RunResult
from qexplorer.engine.runs.run import Run
from qexplorer.engine.studies.local import run_locally
from qexplorer.engine.studies.manifest import Manifest
from qexplorer.engine.studies.status import DONE, StudyResult, StudyStatus
from qexplorer.engine.studies.study import Study
from qexplorer.errors import UserError
from qexplorer.progress import Steps


def run_study(
    study: Study,
    history: History,
    on: str = LOCAL,
    *,
    tls: Tls = NO_TLS,
    insecure: bool = False,
    manifest: Manifest | None = None,
) -> Steps[StudyResult]:
    """Run every run of `study` that `manifest` and `history` do not have as done, and record each in `history`.

    `on` is “local”, or a Dask scheduler's address, `tcp://HOST:PORT` or `tls://HOST:PORT`; without TLS one of another
    machine is refused unless `insecure`. Every progress is a
    `StudyProgress`. A run that fails with a `UserError` does not stop the others; its error is in the result and in
    the history. Raises `UserError` for what would stop all of them. `manifest` is that of an earlier study to resume.
    """
    address = parse_address(on, tls, insecure=insecure)
    manifest = manifest or Manifest.new(study, history)
    manifest.check(study)
    status = StudyStatus(study, manifest.study_id)
    yield from _read_done(status, history, manifest)
    if address is None:
        yield from run_locally(status, history, manifest)
    elif status.left:
        from qexplorer.cluster.remote import run_on_cluster  # asyncio is slow to load, and few need it

        yield from run_on_cluster(status, history, manifest, address)
    return status.result()


def _read_done(status: StudyStatus, history: History, manifest: Manifest) -> Steps[None]:
    """Update the status from the manifest's runs in the history."""
    phase = "Reading finished runs"
    yield status.progress(phase)
    if manifest.run_ids:
        history.mark_interrupted()
    for each in status.left:
        run = _found(history, manifest.run_ids.get(each.key, ""))
        if run is None:
            continue
        if run.status == "running":
            what = f"The study {manifest.study_id} is already running: its run “{run.run_id}” is."
            raise UserError(what, "Wait for it, or cancel it there.", field="resume")
        status.change(each.key, run_id=run.run_id)
        if run.status == DONE:
            try:
                status.finish(each.key, RunResult.from_json(run.result_json or ""))
            except UserError as error:
                status.fail(each.key, str(error))
        yield status.progress(phase)


def _found(history: History, run_id: str) -> Run | None:
    """The run with that id, unless it was deleted."""
    try:
        return history.get(run_id) if run_id else None
    except UserError:
        return None
