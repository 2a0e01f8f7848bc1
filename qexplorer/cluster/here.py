"""The cells of a study in this process, one after the other."""

import dataclasses
from dataclasses import replace

from qexplorer.cluster.board import RUNNING, Board
from qexplorer.cluster.book import Book
from qexplorer.cluster.study import Cell
from qexplorer.engine.jobs.record import recorded, resumed
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import RunResult
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, mapped


def run_here(board: Board, history: History, book: Book) -> Steps[None]:
    """Run what is left; a cell that was begun earlier goes on from its last finished step.

    Raises `UserError` before the first starts, where one of them could not.
    """
    for cell in board.left:
        yield board.progress("Checking the runs")
        cell.job.check()
    for cell in board.left:
        run_id = board[cell.key].run_id
        steps = resumed(run_id, history) if run_id else _new(cell, board, history, book)
        try:
            board.finish(cell.key, (yield from _told(steps, cell, board)))
        except UserError as error:
            _keep_failure(cell, board[cell.key].run_id, history, str(error))
            board.fail(cell.key, str(error))
        yield board.progress(f"{_head(cell, board)}: {board[cell.key].status}")


def _new(cell: Cell, board: Board, history: History, book: Book) -> Steps[RunResult]:
    run_id = history.new_id(cell.job.name)
    book.enter(cell.key, run_id)
    board.change(cell.key, run_id=run_id)
    return (yield from recorded(cell.job, history, run_id))


def _told(steps: Steps[RunResult], cell: Cell, board: Board) -> Steps[RunResult]:
    """Run a cell's steps and report each as one of the whole study."""
    first = _head(cell, board)

    def report(step: Progress) -> Progress:
        board.change(cell.key, phase=str(step), fraction=max(board[cell.key].fraction, step.fraction or 0.0))
        return replace(board.progress(f"{first}: {step.phase}"), timed=step.timed)

    board.change(cell.key, status=RUNNING)
    yield board.progress(first)
    return (yield from mapped(steps, report))


def _head(cell: Cell, board: Board) -> str:
    return f"{cell.number}/{len(board.study.cells)} {cell.label}"


def _keep_failure(cell: Cell, run_id: str, history: History, error: str) -> None:
    """Enter the failure of a run that failed before it was in the history."""
    try:
        history.get(run_id)
    except UserError:
        history.start(cell.job.name, dataclasses.asdict(cell.job), run_id)
        history.fail(run_id, error)
