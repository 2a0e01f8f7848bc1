"""The course of a study: what is done already is taken as it is, the rest is run, here or on a cluster."""

from qexplorer.cluster.board import DONE, Board, StudyResult
from qexplorer.cluster.book import Book
from qexplorer.cluster.here import run_here
from qexplorer.cluster.place import LOCAL, NO_TLS, Tls, place_of
from qexplorer.cluster.study import Study
from qexplorer.engine.runs.history import History, Run
from qexplorer.engine.runs.results import RunResult
from qexplorer.errors import UserError
from qexplorer.progress import Steps


def run_study(
    study: Study, history: History, on: str = LOCAL, *, tls: Tls = NO_TLS, book: Book | None = None
) -> Steps[StudyResult]:
    """Run every cell of `study` that is not done by `book`, with an entry in `history` each.

    `on` is “local”, or a Dask scheduler's address, `tcp://HOST:PORT` or `tls://HOST:PORT`. Every progress is a
    `StudyProgress`. A cell that fails with a `UserError` does not stop the others; its error is in the result and in
    the history. Raises `UserError` for what would stop all of them. `book` is that of a study that was begun earlier;
    without one it is new.
    """
    cluster = place_of(on, tls)
    book = book or Book.begin(study, history)
    book.check(study)
    board = Board(study, book.study_id)
    yield from _taken_up(board, history, book)
    if cluster is None:
        yield from run_here(board, history, book)
    elif board.left:
        from qexplorer.cluster.cluster import run_on_cluster

        yield from run_on_cluster(board, history, book, cluster)
    return board.result()


def _taken_up(board: Board, history: History, book: Book) -> Steps[None]:
    """Bring to the board what the book's runs have come to."""
    yield board.progress("Reading what is done")
    if book.runs:
        history.mark_interrupted()
    for cell in board.left:
        run = _found(history, book.runs.get(cell.key, ""))
        if run is None:
            continue
        if run.status == "running":
            what = f"The study {book.study_id} is running already: its run “{run.run_id}” is."
            raise UserError(what, "Wait for it, or cancel it there.", field="resume")
        board.change(cell.key, run_id=run.run_id)
        if run.status == DONE:
            _take(board, cell.key, run)
        yield board.progress("Reading what is done")


def _found(history: History, run_id: str) -> Run | None:
    """The run of that id, unless the person has deleted it."""
    try:
        return history.get(run_id) if run_id else None
    except UserError:
        return None


def _take(board: Board, key: str, run: Run) -> None:
    try:
        board.finish(key, RunResult.from_json(run.result_json or ""))
    except UserError as error:
        board.fail(key, str(error))
