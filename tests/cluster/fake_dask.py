"""Dask in this process: a scheduler and its workers, whose runs are functions on threads."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qexplorer.cluster.mailbox import Mailbox, Unwanted
from qexplorer.cluster.worker import MAILBOXES, OPERATION, answered

WORKER = "tcp://w:1"
Work = Callable[[Mailbox], object]


class FakeDask:
    """Stands in for `Connection`. A run on a worker does `work` with its mailbox, and then ends with `result`.

    `change` may alter what the owner hears from a call of that name, and `{}` is no answer; after `limit` chunks the
    owner hears nothing more.
    """

    def __init__(self, folder: Path, work: Work) -> None:
        self.changes: dict[str, Callable[[Any], Any]] = {}
        self.limit: int | None = None
        self.chunks: list[int] = []
        """The sizes of the chunks that the owner has read."""
        self.workers = {WORKER}
        self.result = "{}"
        self.closing = False
        """Whether the workers end."""
        self.done = self.stopped = False
        """Whether a worker has done its work, and whether it was stopped."""
        self._folder, self._work = folder, work
        self._interrupts = 0

    def interrupt(self) -> None:
        """Press Ctrl-C while the owner waits."""
        self._interrupts = 1

    def run_job(self, _: str, __: str, mailbox: Mailbox) -> str:
        """Stands in for `worker.run_job`."""
        try:
            self._work(mailbox)
        except Unwanted:
            self.stopped = True
            raise
        self.done = True
        return self.result

    # what the owner calls

    def __call__(self, *_: Any) -> "FakeDask":
        return self

    async def call(self, op: str, **message: Any) -> Any:
        await asyncio.sleep(0)
        if self._interrupts:
            self._interrupts = 0
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        if op == "ncores":
            return dict.fromkeys(self.workers, 1)
        (worker,), msg = message["workers"], dict(message["msg"])
        answer = await self._answer(**msg) if worker in self.workers else {}
        return {worker: answer} if answer else {}

    async def close(self) -> None:
        pass

    async def _answer(self, op: str, call: str = "", **how: Any) -> Any:
        if op != OPERATION:
            return {"status": "OK"}
        while call == "read" and self.limit is not None and len(self.chunks) >= self.limit:
            await asyncio.sleep(0.01)
        if call == "begin":
            how |= {"folder": str(self._folder), "is_closing": lambda: self.closing}
        answer = await answered(call, **how)
        if call == "read":
            self.chunks.append(len(answer["answer"]))
        return self.changes.get(call, lambda same: same)(answer)


def is_idle() -> bool:
    """Whether no run is left on a thread."""
    return not MAILBOXES
