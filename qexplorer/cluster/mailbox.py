"""Where a run on a worker and the study's owner meet: reports, finished steps and models."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any, Self

from qexplorer.cluster.artifact import ARRAYS, STEP, Artifact, IncomingFile, read_chunk
from qexplorer.cluster.messages import Report
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.run_journal import RunJournal
from qexplorer.errors import UserError

POLL_S = 0.2
LEASE_S = 60.0
"""A run that its owner has not asked about for so long is not wanted any more."""
RUN = "run"


class Unwanted(Exception):  # noqa: N818  it is not an error: the run was cancelled
    """Nobody waits for this run any more."""


class Mailbox:
    """Where a run on this worker leaves its report, finished steps and models, and finds those of an earlier attempt.

    Its files are in `folder`; `is_closing` says whether this worker ends. `read`, `write`, `proceed`, `stop` and
    `report` are for the owner, the others for the run, on a thread of its own.
    """

    def __init__(self, folder: Path, is_closing: Callable[[], bool] = lambda: False) -> None:
        self.report = Report()
        """How far the run is, and what it offers."""
        self._history = History(folder / "history.sqlite3")
        self._proceed, self._stopped = threading.Event(), threading.Event()
        self._heard, self._is_closing = time.monotonic(), is_closing
        self._incoming: IncomingFile | None = None
        self._number = 0
        self._outgoing: BufferedIOBase | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.stop()
        if self._incoming is not None:
            self._incoming.__exit__()

    @property
    def folder(self) -> Path:
        """Where the run's files belong."""
        return self._history.folder(RUN)

    def check_wanted(self) -> None:
        """Raise `Unwanted` where the run was cancelled, its owner is gone, or the worker ends."""
        if self._stopped.is_set() or self._is_closing() or time.monotonic() - self._heard > LEASE_S:
            raise Unwanted

    def say(self, phase: str, fraction: float) -> None:
        """Tell the owner how far the run is."""
        self.report = Report(phase, fraction)

    def journal(self) -> "SentJournal":
        """The run's journal, once the steps of an earlier attempt are in it. Raises `Unwanted`."""
        self._wait()
        return SentJournal(self._history, self)

    def send(self, kind: str, name: str, content: BufferedIOBase) -> None:
        """Send something to the owner. When this returns, the owner has it. Raises `Unwanted`."""
        self._number += 1
        before, self._outgoing = self.report, content
        self._proceed.clear()
        self.report = Report(before.phase, before.fraction, Artifact.of(self._number, kind, name, content))
        try:
            self._wait()
        finally:
            self._outgoing, self.report = None, before

    def hear(self) -> None:
        """The owner is there."""
        self._heard = time.monotonic()

    def stop(self) -> None:
        """Nobody waits for the run any more."""
        self._stopped.set()

    def read(self, number: int, offset: int, size: int) -> bytes:
        """A chunk of the artifact with that number; empty if it is no longer available."""
        content = self._outgoing
        return b"" if content is None or self._number != number else read_chunk(content, offset, size)

    def write(self, artifact: Artifact, offset: int, chunk: bytes) -> None:
        """Receive a chunk of a finished step; the last one adds it to the journal."""
        if self._incoming is None:
            if offset:
                return  # it was sent twice, and is complete
            self._incoming = IncomingFile(artifact, self.folder / "incoming")
        self._incoming.write(offset, chunk)
        if self._incoming.complete:
            with self._incoming as incoming:
                put_step(artifact, incoming.close(), self._history.journal(RUN))
            self._incoming = None

    def proceed(self, number: int) -> None:
        """Let the run continue: the artifact with that number was fetched, or, for 0, all steps were sent."""
        if number == self._number:
            self.report = replace(self.report, artifact=None)
            self._proceed.set()

    def _wait(self) -> None:
        while not self._proceed.wait(POLL_S):
            self.check_wanted()


class SentJournal(RunJournal):
    """A run's finished steps; each is sent to the owner."""

    def __init__(self, history: History, mailbox: Mailbox) -> None:
        super().__init__(history, RUN)
        self._mailbox = mailbox

    def put(self, key: str, value: Any) -> None:
        self._mailbox.check_wanted()
        super().put(key, value)
        kind, content = open_step(self, key)
        with content:
            self._mailbox.send(kind, key, content)


def open_step(journal: RunJournal, key: str) -> tuple[str, BufferedIOBase]:
    """The kind and the content of a finished step; arrays whose file is gone are empty."""
    file = journal.file_of(key)
    if file is None:
        return STEP, BytesIO(json.dumps(journal.get(key)).encode())
    return ARRAYS, file.open("rb") if file.is_file() else BytesIO()


def put_step(artifact: Artifact, file: Path, journal: RunJournal) -> None:
    """Add the step in a file to a journal. Raises `UserError` where it holds no JSON value."""
    if artifact.kind == ARRAYS:
        journal.adopt(artifact.name, file)
        return
    try:
        journal.put(artifact.name, json.loads(file.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise UserError("A worker sent a step that cannot be read.", "Run it again.") from error
