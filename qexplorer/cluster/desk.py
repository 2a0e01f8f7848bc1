"""A worker's side of what goes between it and the run history. The other side asks, by the functions at the end."""

import io
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Self

from qexplorer.cluster.parcel import ARRAYS, MODEL, STEP, Arriving, Parcel, piece_of
from qexplorer.engine.runs.history import History, Run, RunJournal
from qexplorer.engine.runs.journal import Journal

POLL_S = 0.2
RUN = "run"


class NotWanted(Exception):  # noqa: N818  it is no error: the person has cancelled
    """Nobody waits for this cell any more."""


class Desk:
    """Where a cell that runs on this worker hands over what it has, and is given what was finished before.

    All of it lies in `folder`. `tell` says something to the other side, `is_wanted` whether there still is one.
    """

    def __init__(self, task: str, folder: Path, tell: Callable[..., None], is_wanted: Callable[[], bool]) -> None:
        self._task, self._tell, self._is_wanted = task, tell, is_wanted
        self._history = History(folder / "history.sqlite3")
        self._settled = threading.Event()
        """The other side has said what it has to: all steps were given, or the parcel was taken."""
        self._arriving: Arriving | None = None
        self._parcel: Parcel | None = None
        self._content: BinaryIO = io.BytesIO()
        self._handed = 0

    def __enter__(self) -> Self:
        DESKS[self._task] = self
        return self

    def __exit__(self, *error: Any) -> None:
        del DESKS[self._task]
        if self._arriving is not None:
            self._arriving.__exit__()

    @property
    def folder(self) -> Path:
        """Where the cell's files belong."""
        return self._history.folder(RUN)

    def check_wanted(self) -> None:
        """Raise `NotWanted` where it is so."""
        if not self._is_wanted():
            raise NotWanted

    def journal(self) -> "SentJournal":
        """The steps that were finished before, once they are all here. Raises `NotWanted`."""
        self._wait()
        return SentJournal(self._history, self)

    def hand_over(self, kind: str, name: str, content: BinaryIO) -> None:
        """Give something to the other side; when this returns, it has it. Raises `NotWanted`."""
        self._handed += 1
        parcel = Parcel.of(self._handed, kind, name, content)
        self._settled.clear()
        self._content, self._parcel = content, parcel
        self._tell(kind="offered", number=parcel.number, what=kind, name=name, size=parcel.size, sha256=parcel.sha256)
        try:
            self._wait()
        finally:
            self._parcel = None

    def hand_over_model(self, name: str, file: Path) -> None:
        """Give the file of a model that the run made."""
        with file.open("rb") as content:
            self.hand_over(MODEL, name, content)

    def read(self, number: int, offset: int, size: int) -> bytes | None:
        """A piece of the parcel of that number; None where it is not on the desk."""
        if self._parcel is None or self._parcel.number != number:
            return None
        return piece_of(self._content, offset, size)

    def take(self, parcel: Parcel, offset: int, piece: bytes) -> None:
        """A piece of a step that was finished before; the last one enters it."""
        if offset == 0:
            self._arriving = Arriving(parcel, self.folder / "arriving")
        if self._arriving is None:
            return
        self._arriving.add(offset, piece)
        if self._arriving.whole:
            with self._arriving as arriving:
                enter(parcel, arriving.keep(), self._history.journal(RUN))
            self._arriving = None

    def settle(self, number: int) -> None:
        """The parcel of that number was taken; 0: all steps were given."""
        if number == self._handed:
            self._settled.set()

    def _wait(self) -> None:
        while not self._settled.wait(POLL_S):
            self.check_wanted()


class SentJournal(RunJournal):
    """The steps of a cell; each is handed over when it is done."""

    def __init__(self, history: History, desk: Desk) -> None:
        super().__init__(history, RUN)
        self._desk = desk

    def put(self, key: str, value: Any) -> None:
        super().put(key, value)
        file = self.file_of(key)
        with io.BytesIO(json.dumps(value).encode()) if file is None else file.open("rb") as content:
            self._desk.hand_over(STEP if file is None else ARRAYS, key, content)

    def earlier(self, run_id: str) -> Run:
        return Journal.earlier(self, run_id)


def enter(parcel: Parcel, file: Path, journal: RunJournal) -> None:
    """Enter the step that a parcel holds, whose content is in a file."""
    if parcel.kind == ARRAYS:
        journal.adopt(parcel.name, file)
    else:
        journal.put(parcel.name, json.loads(file.read_bytes()))


DESKS: dict[str, Desk] = {}
"""The desks of this process by their tasks."""


def read_piece(task: str, number: int, offset: int, size: int) -> bytes | None:
    """A piece of what a task hands over; None where it does not, any more."""
    desk = DESKS.get(task)
    return None if desk is None else desk.read(number, offset, size)


def give_piece(task: str, parcel: Parcel, offset: int, piece: bytes) -> None:
    """Give a piece of a finished step to a task."""
    desk = DESKS.get(task)
    if desk is not None:
        desk.take(parcel, offset, piece)


def settle(task: str, number: int) -> None:
    """Say to a task that its parcel was taken; 0: that it was given all steps."""
    desk = DESKS.get(task)
    if desk is not None:
        desk.settle(number)
