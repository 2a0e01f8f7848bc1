"""Dask in this process: a client and one worker, whose runs are functions on threads."""

import asyncio
import json
import signal
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from qexplorer.cluster.mailbox import Mailbox, Unwanted
from qexplorer.cluster.messages import Message, Offered, Started

WORKER = "tcp://w:1"
Work = Callable[[Mailbox], object]


class FakeDask:
    """Stands in for `distributed.Client`. A run on the worker does `work` with its mailbox, and then fails as “over”.

    `change` may alter what the owner hears from a mailbox; after `limit` chunks the owner hears nothing more.
    """

    def __init__(self, folder: Path, work: Work) -> None:
        self.change: Callable[[Any], Any] = lambda answer: answer
        self.limit: int | None = None
        self.chunks: list[int] = []
        """The sizes of the chunks that the owner has read."""
        self.offers: list[str] = []
        """The names of the artifacts that the worker has offered."""
        self.done = self.stopped = False
        """Whether the worker has done its work, and whether it was stopped."""
        self._folder, self._work = folder, work
        self._handlers: dict[str, Callable[[Any], None]] = {}
        self._threads: list[threading.Thread] = []
        self._future: asyncio.Future[str]
        self._loop: asyncio.AbstractEventLoop
        self._topic = ""

    def event(self, topic: str, event: Any) -> None:
        """Have the owner hear an event."""
        self._loop.call_soon_threadsafe(self._handlers[topic], (0.0, event))

    def message(self, message: Message | dict[str, Any]) -> None:
        """Have the owner hear a message of the worker's."""
        self.event(self._topic, message.to_event() if isinstance(message, Message) else message)

    def lose(self, worker: str = WORKER) -> None:
        """Have the owner hear that a worker is gone."""
        self.event("all", {"action": "remove-worker", "worker": worker})

    def answer(self, text: str) -> None:
        """Have the run return this, unless it has ended."""
        self._loop.call_soon_threadsafe(lambda: self._future.done() or self._future.set_result(text))

    def interrupt(self) -> None:
        """Press Ctrl-C while the owner waits."""
        self._loop.call_soon_threadsafe(signal.raise_signal, signal.SIGINT)

    def join(self) -> None:
        """Wait for the worker's threads."""
        for thread in self._threads:
            thread.join(10)

    # what the owner calls

    def __call__(self, *_: Any, **__: Any) -> "FakeDask":
        return self

    def __await__(self) -> Generator[Any, Any, "FakeDask"]:
        yield from asyncio.sleep(0).__await__()
        return self

    def subscribe_topic(self, topic: str, handler: Callable[[Any], None]) -> None:
        self._handlers[topic] = handler

    def submit(
        self, _: Any, job: str, settings: str, versions: Any, topic: str, run: str, *, key: str, pure: bool
    ) -> Any:
        assert not pure
        self._loop = asyncio.get_running_loop()
        self._future, self._topic = self._loop.create_future(), topic
        thread = threading.Thread(target=self._run, args=(key, run))
        self._threads.append(thread)
        thread.start()
        return self._future

    async def run(self, function: Callable[..., Any], *args: Any, workers: list[str] | None = None, **_: Any) -> Any:
        if workers is None:
            return {}
        while self.limit is not None and len(self.chunks) >= self.limit:
            await asyncio.sleep(0.01)
        answer = function(*args)
        if isinstance(answer.get("answer"), bytes):
            self.chunks.append(len(answer["answer"]))
        return {workers[0]: self.change(answer)}

    async def cancel(self, futures: list[asyncio.Future[str]]) -> None:
        for future in futures:
            future.cancel()

    async def close(self, *, timeout: float) -> None:
        assert timeout

    def _run(self, task: str, run: str) -> None:
        def offer(artifact: Any) -> None:
            self.offers.append(artifact.name)
            self.message(Offered(run, WORKER, artifact))

        with Mailbox(task, self._folder, offer, lambda: not self._future.done()) as mailbox:
            self.message(Started(run, WORKER, "w"))
            try:
                self._work(mailbox)
                self.done = True
            except Unwanted:
                self.stopped = True
                return
        self.answer(json.dumps({"error": "over"}))
