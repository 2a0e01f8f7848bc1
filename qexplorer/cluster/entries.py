"""What is heard of a cluster's runs, entered into the run history as if they ran here."""

import dataclasses
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from qexplorer.cluster.board import DONE, FAILED, RUNNING, WAITING, Board
from qexplorer.cluster.book import Book
from qexplorer.cluster.desk import enter
from qexplorer.cluster.exchange import Dialogue, fetch, give_steps
from qexplorer.cluster.parcel import MODEL, MOST_BYTES, Parcel
from qexplorer.engine.jobs.record import clean
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import RunResult
from qexplorer.errors import UserError
from qexplorer.folders import disk_errors
from qexplorer.text import printable


class Entries:
    """The runs of one study on a cluster. A run is entered as running, by this process, when a worker begins it.

    Its finished steps, and the files of its models, are fetched from the worker as they are made.
    """

    def __init__(self, board: Board, history: History, book: Book) -> None:
        self._board = board
        self._history = history
        self._book = book
        self._jobs = {cell.key: cell.job for cell in board.left}
        self._open: dict[str, str] = {}
        """The runs that are entered and have not ended, by their cells."""
        self._at: dict[str, str] = {}
        """The addresses of the workers that run them now."""
        self._models: dict[str, dict[str, Path]] = {}
        """The files of the models that are here, by the cells and the models' names."""
        self.starting_again: set[str] = set()
        """The cells whose worker was lost, until another one begins them."""

    def begin(self, key: str, worker: str, host: str) -> Dialogue | None:
        """A worker has begun a cell; what it is to be given first, unless this is heard too late."""
        if self._board[key].status in (DONE, FAILED):
            return None
        if self._at.get(key) not in (None, worker):  # heard before it was heard that the first one is gone
            self.lose(self._at[key])
        self._at[key] = worker
        self.starting_again.discard(key)
        self._models[key] = {}
        run_id = self._run_of(key)
        self._board.change(key, status=RUNNING, fraction=0.0, phase="", worker=f"{worker} ({host})")
        return give_steps(self._history.journal(run_id))

    def step(self, key: str, worker: str, phase: str, fraction: float) -> None:
        """A cell is so far."""
        if self._at.get(key) == worker:
            self._board.change(key, phase=phase, fraction=fraction)

    def take(self, key: str, worker: str, parcel: Parcel) -> Dialogue | None:
        """A worker has something for the run history: how it is fetched."""
        if self._at.get(key) != worker:
            return None
        run_id = self._run_of(key)
        folder, models = self._history.folder(run_id), self._models[key]
        title = f"Fetching {printable(parcel.name, 80)}"

        def keep(file: Path) -> None:
            if parcel.kind != MODEL:
                enter(parcel, file, self._history.journal(run_id))
                return
            models[parcel.name] = own = folder / f"model_{len(models) + 1}.pt"
            with disk_errors(own):
                file.replace(own)

        def told(size: int) -> None:
            if parcel.kind == MODEL:
                self._board.change(key, phase=f"{title}: {size / 1e6:.1f} of {parcel.size / 1e6:.1f} MB")

        if not parcel.fits:
            most = MOST_BYTES.get(parcel.kind, 0) / 1e9
            self._board.note(
                f"Of run {run_id}, {printable(parcel.name, 80)} stayed on its worker: it has "
                f"{parcel.size / 1e9:.1f} GB, and at most {most:g} GB are fetched."
            )
        return fetch(parcel, folder / "arriving", keep, told=told)

    def lose(self, worker: str) -> bool:
        """A worker is gone; whether it ran anything, which then goes on elsewhere."""
        lost = [key for key, at in self._at.items() if at == worker]
        for key in lost:
            del self._at[key]
            self.starting_again.add(key)
            self._board.change(
                key, status=WAITING, fraction=0.0, phase="its worker was lost; it goes on elsewhere", worker=""
            )
            self._board.note(f"The worker {worker} was lost; its run {self._open[key]} went on elsewhere.")
        return bool(lost)

    def answer(self, key: str, text: str) -> None:
        """A cell has ended, with what `remote.run_cell` returned."""
        if self._board[key].status in (DONE, FAILED):
            return  # it was given up before that was heard
        answer: dict[str, Any] = json.loads(text) if text else {"error": "Its worker was closed while it ran."}
        run_id = self._run_of(key)
        try:
            if "error" in answer:
                raise UserError(answer["error"])
            result = RunResult.from_json(answer["result"])
            result = self._brought_here(key, result, {"address": answer["worker"], "host": answer["host"]})
            self._history.finish(run_id, result.to_json())
        except UserError as error:
            self.give_up(key, str(error))
            return
        self._board.finish(key, result)
        self._forget(key)
        clean(self._history, run_id, done=True)

    def give_up(self, key: str, error: str) -> None:
        """A cell has failed."""
        run_id = self._run_of(key)
        self._history.fail(run_id, error)
        self._board.fail(key, error)
        self._forget(key)
        clean(self._history, run_id, done=False)

    def end(self, error: BaseException | None) -> None:
        """Enter what has not ended as cancelled, or as failed by `error`."""
        for run_id in self._open.values():
            with suppress(Exception):  # what ended the study is what the person has to hear of
                if error is None:
                    self._history.cancel(run_id)
                else:
                    self._history.fail(run_id, str(error) or type(error).__name__)
            clean(self._history, run_id, done=False)

    def _brought_here(self, key: str, result: RunResult, worker: dict[str, str]) -> RunResult:
        """A worker's result with the files as they lie here."""
        models = {name: str(file) for name, file in self._models.get(key, {}).items()}
        rows = tuple(dataclasses.replace(row, artifact=models.get(row.name)) for row in result.rows)
        run_id = self._run_of(key)
        folder = str(self._history.folder(run_id)) if models else None
        spec = {**result.spec, "worker": worker}
        return dataclasses.replace(result, run_id=run_id, spec=spec, rows=rows, artifact=folder)

    def _run_of(self, key: str) -> str:
        """The run of a cell, entered as running if it is not yet; one that was begun earlier is taken up again."""
        if key not in self._open:
            job, run_id = self._jobs[key], self._board[key].run_id
            if run_id:
                self._history.resume(run_id)
            else:
                run_id = self._history.new_id(job.name)
                self._book.enter(key, run_id)
                self._history.start(job.name, dataclasses.asdict(job), run_id)
            self._open[key] = run_id
            self._board.change(key, run_id=run_id)
        return self._open[key]

    def _forget(self, key: str) -> None:
        self._open.pop(key, None)
        self._at.pop(key, None)
        self._models.pop(key, None)
        self.starting_again.discard(key)
