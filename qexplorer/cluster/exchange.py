"""This program's side of what goes between a worker and the run history, as questions and answers."""

import io
import json
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from qexplorer.cluster.desk import give_piece, read_piece, settle
from qexplorer.cluster.parcel import ARRAYS, PIECE, STEP, Arriving, Parcel, piece_of
from qexplorer.engine.runs.history import RunJournal


@dataclass(frozen=True)
class Question:
    """A function of `desk` for the worker to call with its task and these."""

    function: Callable[..., Any]
    args: tuple[Any, ...]


Dialogue = Generator[Question, Any, None]
"""Yields questions, is sent the answers. Closed at any time, it leaves no half of a file."""


def give_steps(journal: RunJournal) -> Dialogue:
    """Give a worker what was finished before, and let it begin."""
    for number, key in enumerate(journal.keys("")):
        with _step(journal, key) as (kind, content):
            parcel, offset = Parcel.of(number, kind, key, content), 0
            while parcel.fits and (piece := piece_of(content, offset, PIECE)):
                yield Question(give_piece, (parcel, offset, piece))
                offset += len(piece)
    yield Question(settle, (0,))


def fetch(parcel: Parcel, path: Path, keep: Callable[[Path], None], *, told: Callable[[int], None]) -> Dialogue:
    """Fetch a parcel to `path`, have it kept, and let the worker go on. `told` hears how many bytes are there.

    One that is too large is not fetched. Raises `UserError` where it came over damaged, or the disk is full.
    """
    if parcel.fits:
        with Arriving(parcel, path) as arriving:
            while not arriving.whole:
                piece = yield Question(read_piece, (parcel.number, arriving.size, PIECE))
                if piece is None:
                    return  # its run has ended
                arriving.add(arriving.size, piece)
                told(arriving.size)
            keep(arriving.keep())
    yield Question(settle, (parcel.number,))


@contextmanager
def _step(journal: RunJournal, key: str) -> Iterator[tuple[str, BinaryIO]]:
    file = journal.file_of(key)
    if file is None:
        yield STEP, io.BytesIO(json.dumps(journal.get(key)).encode())
    elif file.is_file():
        with file.open("rb") as content:
            yield ARRAYS, content
    else:
        yield ARRAYS, io.BytesIO()  # somebody took it away: it is done again


class Exchange:
    """The dialogues with the workers, one for each cell. `ask` puts a question; its answer comes to `reply`."""

    def __init__(self, ask: Callable[[str, str, int, Question], None]) -> None:
        self._ask = ask
        self._open: dict[str, tuple[str, int, Dialogue]] = {}
        """The worker, the number of the question that waits for its answer, and the dialogue, by the cells' keys."""
        self._asked = 0

    def begin(self, key: str, worker: str, dialogue: Dialogue) -> None:
        """Begin a dialogue; an earlier one about the same cell is over."""
        self.end(key)
        self._go_on(key, worker, dialogue, None)

    def reply(self, key: str, number: int, answer: Any) -> None:
        """Go on with an answer, unless its dialogue is over. Raises what the worker has raised."""
        worker, waiting, dialogue = self._open.get(key, ("", 0, None))
        if dialogue is None or number != waiting:
            return
        if isinstance(answer, BaseException):
            self.end(key)
            raise answer
        self._go_on(key, worker, dialogue, answer)

    def end(self, key: str) -> None:
        """A cell has ended, or its worker was lost."""
        if key in self._open:
            self._open.pop(key)[2].close()

    def end_at(self, worker: str) -> None:
        """A worker was lost."""
        for key in [key for key, (at, _, _) in self._open.items() if at == worker]:
            self.end(key)

    def close(self) -> None:
        """All is over."""
        for key in list(self._open):
            self.end(key)

    def _go_on(self, key: str, worker: str, dialogue: Dialogue, answer: Any) -> None:
        try:
            question = dialogue.send(answer)
        except StopIteration:
            self._open.pop(key, None)
            return
        except BaseException:
            self._open.pop(key, None)
            raise
        self._asked += 1
        self._open[key] = (worker, self._asked, dialogue)
        self._ask(key, worker, self._asked, question)
