"""A worker's side of the exchange with the study's owner, who calls it through `call`."""

import json
import threading
from collections.abc import Callable
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any, Self

from qexplorer.cluster.artifact import ARRAYS, STEP, Artifact, IncomingFile, read_chunk
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.run_journal import RunJournal
from qexplorer.errors import UserError

POLL_S = 0.2
RUN = "run"


class Unwanted(Exception):  # noqa: N818  it is not an error: the run was cancelled
    """Nobody waits for this run any more."""


class Mailbox:
    """Where a run on this worker sends its finished steps and models, and receives the steps of an earlier attempt.

    Its files are in `folder`. `offer` tells the owner of an artifact, `is_wanted` says whether there still is one.
    `read`, `write` and `proceed` are for the owner, the others for the run, on a thread of its own.
    """

    def __init__(
        self, task: str, folder: Path, offer: Callable[[Artifact], None], is_wanted: Callable[[], bool]
    ) -> None:
        self._task, self._offer, self._is_wanted = task, offer, is_wanted
        self._history = History(folder / "history.sqlite3")
        self._proceed = threading.Event()
        self._incoming: IncomingFile | None = None
        self._number = 0
        self._outgoing: BufferedIOBase | None = None

    def __enter__(self) -> Self:
        MAILBOXES[self._task] = self
        return self

    def __exit__(self, *error: Any) -> None:
        del MAILBOXES[self._task]
        if self._incoming is not None:
            self._incoming.__exit__()

    @property
    def folder(self) -> Path:
        """Where the run's files belong."""
        return self._history.folder(RUN)

    def check_wanted(self) -> None:
        """Raise `Unwanted` where the run was cancelled."""
        if not self._is_wanted():
            raise Unwanted

    def journal(self) -> "SentJournal":
        """The run's journal, once the steps of an earlier attempt are in it. Raises `Unwanted`."""
        self._wait()
        return SentJournal(self._history, self)

    def send(self, kind: str, name: str, content: BufferedIOBase) -> None:
        """Send something to the owner. When this returns, the owner has it. Raises `Unwanted`."""
        self._number += 1
        artifact = Artifact.of(self._number, kind, name, content)
        self._proceed.clear()
        self._outgoing = content
        self._offer(artifact)
        try:
            self._wait()
        finally:
            self._outgoing = None

    def read(self, number: int, offset: int, size: int) -> bytes | None:
        """A chunk of the artifact with that number; None if it is no longer available."""
        if self._outgoing is None or self._number != number:
            return None
        return read_chunk(self._outgoing, offset, size)

    def write(self, artifact: dict[str, Any], offset: int, chunk: bytes) -> None:
        """Receive a chunk of a finished step; the last one adds it to the journal."""
        step = Artifact(**artifact)
        if self._incoming is None:
            if offset:
                return  # it was sent twice, and is complete
            self._incoming = IncomingFile(step, self.folder / "incoming")
        self._incoming.write(offset, chunk)
        if self._incoming.complete:
            with self._incoming as incoming:
                put_step(step, incoming.close(), self._history.journal(RUN))
            self._incoming = None

    def proceed(self, number: int) -> None:
        """Let the run continue: the artifact with that number was fetched, or, for 0, all steps were sent."""
        if number == self._number:
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


MAILBOXES: dict[str, Mailbox] = {}
"""The mailboxes of this process by their tasks."""


def call(task: str, method: Callable[..., Any], *args: Any) -> dict[str, Any]:
    """Call a method of a task's mailbox: its `answer`, an `error`, or neither if the task has ended."""
    mailbox = MAILBOXES.get(task)
    if mailbox is None:
        return {}
    try:
        return {"answer": method(mailbox, *args)}
    except UserError as error:
        return {"error": str(error)}
