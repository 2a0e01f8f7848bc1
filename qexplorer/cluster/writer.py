"""A run on a cluster, written into the run history as if it ran here."""

import dataclasses
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from qexplorer.cluster.artifact import END, MODEL, MOST_BYTES, Artifact
from qexplorer.cluster.mailbox import put_step
from qexplorer.engine.jobs.record import clean
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import RunResult
from qexplorer.engine.runs.run_journal import RunJournal
from qexplorer.engine.studies.manifest import Manifest
from qexplorer.engine.studies.status import DONE, RUNNING, WAITING, RunStatus, StudyStatus
from qexplorer.engine.studies.study import StudyRun
from qexplorer.errors import UserError
from qexplorer.folders import disk_errors
from qexplorer.settings import write
from qexplorer.text import printable


class WorkerBug(Exception):  # noqa: N818  it is one in the program, and its text is that of the worker
    """Something on a worker raised what nobody had expected."""


class RunWriter:
    """Keeps one run's status and its entry in the history, which is made when a worker starts it.

    `worker` is the address of the worker that runs it now, empty where none does.
    """

    def __init__(self, run: StudyRun, status: StudyStatus, history: History, manifest: Manifest) -> None:
        self.run = run
        self._status, self._history, self._manifest = status, history, manifest
        self._is_entered = False
        self._host = ""
        self._models: dict[str, Path] = {}
        """The files of the models that are here, by the models' names."""
        self.worker = ""
        self.restarting = False
        """Whether its worker was lost and no other has started it yet."""

    @property
    def status(self) -> RunStatus:
        """The status of the run."""
        return self._status[self.run.key]

    @property
    def journal(self) -> RunJournal:
        """The finished steps of the run."""
        return self._history.journal(self.status.run_id)

    @property
    def incoming(self) -> Path:
        """Where a file is received."""
        return self._history.folder(self.status.run_id) / "incoming"

    def start(self, worker: str, host: str) -> None:
        """A worker has started the run."""
        self._enter()
        self.worker, self._host, self.restarting = worker, printable(host, 200), False
        self._models = {}
        self._change(status=RUNNING, fraction=0.0, phase="", worker=printable(f"{worker} ({host})", 300))

    def step(self, phase: str, fraction: float) -> None:
        """The worker has got this far."""
        self._change(phase=phase, fraction=min(max(fraction, 0.0), 1.0))

    def receive(self, artifact: Artifact, size: int) -> None:
        """So many bytes of an artifact are here."""
        if artifact.kind == MODEL:
            name, whole = printable(artifact.name, 80), artifact.size / 1e6
            self._change(phase=f"Fetching {name}: {size / 1e6:.1f} of {whole:.1f} MB")

    def keep(self, artifact: Artifact, file: Path) -> None:
        """Move the complete file of an artifact to where it belongs."""
        if artifact.kind == END:
            content = file.read_bytes()
            file.unlink()
            self.end(content)
            return
        if artifact.kind != MODEL:
            put_step(artifact, file, self.journal)
            return
        own = file.with_name(f"model_{len(self._models) + 1}.pt")
        with disk_errors(own):
            file.replace(own)
        self._models[artifact.name] = own

    def leave(self, artifact: Artifact) -> None:
        """Note that an artifact is too large to be fetched; without the end of a run there is no result."""
        if artifact.kind == END:
            self.fail("Its result is too large to be fetched.")
            return
        self._status.note(
            f"{printable(artifact.name, 80)} of run {self.status.run_id} stayed on its worker: it has "
            f"{artifact.size / 1e9:.1f} GB, and at most {MOST_BYTES[artifact.kind] / 1e9:g} GB are fetched."
        )

    def lose_worker(self) -> None:
        """The worker is gone; another one will continue the run."""
        self._status.note(f"The worker {self.worker} was lost; its run {self.status.run_id} continued on another one.")
        self.worker, self.restarting = "", True
        self._change(status=WAITING, fraction=0.0, phase="its worker was lost; it continues on another one", worker="")

    def end(self, answer: bytes) -> None:
        """The run has ended, and its worker sent this. Raises `WorkerBug`."""
        try:
            result = RunResult.from_json(_result_of(answer))
            self._enter()
            result = self._localized(result)
            self._history.finish(self.status.run_id, result.to_json())
        except UserError as error:
            self.fail(str(error))
            return
        self._status.finish(self.run.key, result)
        self._close()

    def fail(self, error: str) -> None:
        """The run has failed."""
        self._enter()
        self._history.fail(self.status.run_id, error)
        self._status.fail(self.run.key, error)
        self._close()

    def stop(self, error: BaseException | None) -> None:
        """Enter the run as cancelled, or as failed by `error`, where it was started and has not ended."""
        if not self._is_entered:
            return
        run_id = self.status.run_id
        with suppress(Exception):  # what ended the study is what the user has to hear of
            if error is None:
                self._history.cancel(run_id)
            else:
                self._history.fail(run_id, str(error) or type(error).__name__)
        clean(self._history, run_id, done=False)

    def _close(self) -> None:
        clean(self._history, self.status.run_id, done=self.status.status == DONE)
        self._is_entered = self.restarting = False

    def _localized(self, result: RunResult) -> RunResult:
        """A worker's result with the files as they are here."""
        run_id, models = self.status.run_id, {name: str(file) for name, file in self._models.items()}
        rows = tuple(dataclasses.replace(row, artifact=models.get(row.name)) for row in result.rows)
        folder = str(self._history.folder(run_id)) if models else None
        spec = dataclasses.replace(result.spec, worker={"address": self.worker, "host": self._host})
        return dataclasses.replace(result, run_id=run_id, spec=spec, rows=rows, artifact=folder)

    def _enter(self) -> None:
        """Enter the run as running, unless it is; one that was started earlier is resumed."""
        if self._is_entered:
            return
        job, run_id = self.run.job, self.status.run_id
        if run_id:
            self._history.resume(run_id)
        else:
            run_id = self._history.new_id(job.name)
            self._manifest.add(self.run.key, run_id)
            self._history.start(job.name, write(job), run_id)
        self._is_entered = True
        self._change(run_id=run_id)

    def _change(self, **changes: Any) -> None:
        self._status.change(self.run.key, **changes)


def _result_of(answer: bytes) -> str:
    """The result in what a worker sent at the end. Raises `UserError` with the error in it, and `WorkerBug`."""
    try:
        found: Any = json.loads(answer)
        error, bug, result = (found.get(name) for name in ("error", "bug", "result"))
    except (ValueError, RecursionError, AttributeError) as error:
        raise UserError("Its worker sent something that is not a result.", "Run it again.") from error
    if isinstance(result, str):
        return result
    if isinstance(bug, str):
        raise WorkerBug(bug)
    raise UserError(printable(str(error), 2000))
