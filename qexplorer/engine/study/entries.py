"""What is heard of a cluster's runs, entered into the run history as if they ran here."""

import dataclasses
import json
from contextlib import suppress
from typing import Any

from qexplorer.engine.history import History
from qexplorer.engine.results import RunResult
from qexplorer.engine.study.board import DONE, FAILED, RUNNING, WAITING, Board
from qexplorer.engine.study.book import Book
from qexplorer.errors import UserError


class Entries:
    """The runs of one study on a cluster. A run is entered as running, by this process, when a worker begins it."""

    def __init__(self, board: Board, history: History, book: Book) -> None:
        self._board = board
        self._history = history
        self._book = book
        self._jobs = {cell.key: cell.job for cell in board.left}
        self._open: dict[str, str] = {}
        """The runs that are entered and have not ended, by their cells."""
        self._at: dict[str, str] = {}
        """The addresses of the workers that run them now."""
        self.starting_again: set[str] = set()
        """The cells whose worker was lost, until another one begins them."""

    def begin(self, key: str, worker: str, host: str) -> None:
        """A worker has begun a cell."""
        if self._board[key].status in (DONE, FAILED):
            return  # heard too late
        if self._at.get(key) not in (None, worker):  # heard before it was heard that the first one is gone
            self.lose(self._at[key])
        self._at[key] = worker
        self.starting_again.discard(key)
        self._run_of(key)
        self._board.change(key, status=RUNNING, fraction=0.0, phase="", worker=f"{worker} ({host})")

    def step(self, key: str, worker: str, phase: str, fraction: float) -> None:
        """A cell is so far."""
        if self._at.get(key) == worker:
            self._board.change(key, phase=phase, fraction=fraction)

    def lose(self, worker: str) -> bool:
        """A worker is gone; whether it ran anything, which then starts again elsewhere."""
        lost = [key for key, at in self._at.items() if at == worker]
        for key in lost:
            del self._at[key]
            self.starting_again.add(key)
            self._board.change(
                key, status=WAITING, fraction=0.0, phase="its worker was lost; it starts again", worker=""
            )
            self._board.note(f"The worker {worker} was lost; its run {self._open[key]} was started again.")
        return bool(lost)

    def answer(self, key: str, text: str) -> None:
        """A cell has ended, with what `remote.run_cell` returned."""
        answer: dict[str, Any] = json.loads(text) if text else {"error": "Its worker was closed while it ran."}
        run_id = self._run_of(key)
        try:
            if "error" in answer:
                raise UserError(answer["error"])
            result = RunResult.from_json(answer["result"])
            place = {"address": answer["worker"], "host": answer["host"]}
            result = dataclasses.replace(result, run_id=run_id, spec={**result.spec, "worker": place})
            journal = self._history.journal(run_id)
            for step, value in answer["steps"].items():
                journal.put(step, value)
            self._history.finish(run_id, result.to_json())
            self._board.finish(key, result)
            self._forget(key)
        except UserError as error:
            self.give_up(key, str(error))

    def give_up(self, key: str, error: str) -> None:
        """A cell has failed."""
        self._history.fail(self._run_of(key), error)
        self._board.fail(key, error)
        self._forget(key)

    def end(self, error: BaseException | None) -> None:
        """Enter what has not ended as cancelled, or as failed by `error`."""
        for run_id in self._open.values():
            with suppress(Exception):  # what ended the study is what the person has to hear of
                if error is None:
                    self._history.cancel(run_id)
                else:
                    self._history.fail(run_id, str(error) or type(error).__name__)

    def _run_of(self, key: str) -> str:
        """The run of a cell, entered as running if it is not yet."""
        if key not in self._open:
            job = self._jobs[key]
            run_id = self._history.new_id(job.name)
            self._book.enter(key, run_id)
            self._history.start(job.name, dataclasses.asdict(job), run_id)
            self._open[key] = run_id
            self._board.change(key, run_id=run_id)
        return self._open[key]

    def _forget(self, key: str) -> None:
        self._open.pop(key, None)
        self._at.pop(key, None)
        self.starting_again.discard(key)
