"""The talk with a Dask cluster, on a thread of its own: whoever started it reads what was heard, and never waits."""

import asyncio
import dataclasses
import json
import logging
import queue
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from qexplorer.engine.study.messages import Answered, Began, Broken, Connected, Ended, Lost, Message, Stepped, Workers
from qexplorer.engine.study.place import Cluster
from qexplorer.engine.study.remote import PACKAGES, require_versions, run_cell, versions
from qexplorer.engine.study.study import Cell
from qexplorer.errors import UserError
from qexplorer.weights.text import shown

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_S = 5.0
LEAVE_S = 5.0
POLL_S = 0.1
LOGGERS = ("distributed", "distributed.client", "tornado.application")


class Conversation:
    """Hands the cells to the cluster when it is made. `next` gives what was heard; `close` ends it at any time."""

    def __init__(self, cluster: Cluster, cells: Sequence[Cell]) -> None:
        self._cluster = cluster
        self._cells = cells
        self._name = f"qexplorer-{secrets.token_hex(8)}"  # a key that was used is still known where it was cancelled
        self._heard: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._wanted = versions()
        self._workers: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)
        self._thread.start()

    def next(self, timeout_s: float) -> Message | None:
        """The next message; None where nothing was heard for that long."""
        try:
            return self._heard.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Cancel what is not done, and leave the cluster."""
        self._closing.set()
        self._thread.join(CONNECT_S + LEAVE_S)

    def _run(self) -> None:
        try:
            with _silence():
                asyncio.run(self._until_closed())
            self._heard.put(Ended())
        except BaseException as error:  # noqa: BLE001  it is raised where the messages are read
            self._heard.put(Ended(error))

    async def _until_closed(self) -> None:
        talk = asyncio.create_task(self._talk())
        while not talk.done() and not self._closing.is_set():
            await asyncio.wait([talk], timeout=POLL_S)
        talk.cancel()
        try:
            await talk
        except asyncio.CancelledError:
            if not self._closing.is_set():
                raise

    async def _talk(self) -> None:
        from distributed import Client

        security = self._cluster.security()
        client = Client(self._cluster.address, asynchronous=True, security=security, timeout=CONNECT_S)
        futures: dict[str, Future] = {}
        try:
            await self._connect(client)
            self._listen(client)
            self._workers |= await _check_workers(client)
            self._heard.put(Connected(len(self._workers)))
            for cell in self._cells:
                futures[cell.key] = self._submit(client, cell)
                await asyncio.sleep(0)
            await asyncio.gather(*(self._follow(key, futures) for key in list(futures)))
        finally:
            await _leave(client, list(futures.values()))

    async def _connect(self, client: "Client") -> None:
        try:
            await client
        except (OSError, ValueError) as error:
            what = f"No Dask scheduler could be reached at {self._cluster.address}: {_first_line(error)}."
            raise UserError(what, "Start one with `dask scheduler`, or check the address.", field="on") from error

    def _listen(self, client: "Client") -> None:
        client.subscribe_topic(self._name, lambda event: self._on_cell(event[1]))
        client.subscribe_topic("all", lambda event: self._on_cluster(event[1]))

    def _submit(self, client: "Client", cell: Cell) -> "Future":
        settings = json.dumps(dataclasses.asdict(cell.job))
        return client.submit(run_cell, cell.job.name, settings, self._wanted, self._name, cell.key,
                             key=f"{self._name}-{cell.key}", pure=False)  # fmt: skip

    async def _follow(self, key: str, futures: "dict[str, Future]") -> None:
        """Wait for a cell, and tell what came of it."""
        from distributed import CancelledError, KilledWorker

        try:
            answer: Any = await futures[key]
        except KilledWorker as error:
            lost = f"Every worker that had it was lost, {error.allowed_failures + 1} in all."
            self._heard.put(Broken(key, f"{lost} Perhaps it needs more memory than they have."))
        except (asyncio.CancelledError, CancelledError) as error:
            if not futures[key].cancelled():
                raise  # it is this conversation that ends
            why = shown(str(getattr(error, "reason", "") or "no reason given"), 80)
            what = f"The scheduler at {self._cluster.address} is gone or has let the runs go ({why})."
            raise UserError(what, "What is done is kept.", field="on") from error
        else:
            self._heard.put(Answered(key, str(answer)))
            del futures[key]  # the cluster may forget it

    def _on_cell(self, event: dict[str, Any]) -> None:
        key, worker = event["cell"], event["worker"]
        if event["kind"] == "began":
            self._heard.put(Began(key, worker, event["host"]))
        else:
            self._heard.put(Stepped(key, worker, event["phase"], event["fraction"]))

    def _on_cluster(self, event: dict[str, Any]) -> None:
        action, worker = event.get("action"), event.get("worker", "")
        if action == "add-worker":
            self._workers.add(worker)
        elif action == "remove-worker":
            self._workers.discard(worker)
            self._heard.put(Lost(worker))
        else:
            return
        self._heard.put(Workers(len(self._workers)))


async def _check_workers(client: "Client") -> set[str]:
    """The workers' addresses; a `UserError` where one has other versions.

    They are asked by a function of Python's own: a worker may have none of this program.
    """
    wanted = versions()
    found: dict[str, dict[str, str]] = {}
    for package in PACKAGES:
        answers: Any = await client.run(version, package, on_error="return")  # pyright: ignore[reportGeneralTypeIssues]
        for worker, answer in answers.items():
            found.setdefault(worker, {})[package] = answer.partition("+")[0] if isinstance(answer, str) else ""
    for worker, own in found.items():
        require_versions(worker, own, wanted)
    return set(found)


async def _leave(client: "Client", futures: "list[Future]") -> None:
    """Cancel what is not done and close the client, without waiting for a scheduler that is gone."""
    if futures:
        await client.cancel(futures)  # pyright: ignore[reportGeneralTypeIssues]
    await client.close(timeout=LEAVE_S)  # pyright: ignore[reportGeneralTypeIssues]


def _first_line(error: BaseException) -> str:
    return shown(str(error).partition("\n")[0].rstrip("."), 300)


@contextmanager
def _silence() -> Iterator[None]:
    """Inside, the libraries write no lines of their own on stderr; what went wrong is raised."""
    import distributed  # noqa: F401  its import sets the levels

    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
