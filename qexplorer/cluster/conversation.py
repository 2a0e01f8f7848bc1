"""The talk with a Dask cluster, on a thread of its own: whoever started it reads what was heard, and never waits."""

import asyncio
import dataclasses
import json
import logging
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from qexplorer.cluster.exchange import Question
from qexplorer.cluster.messages import (
    Answered,
    Began,
    Broken,
    Connected,
    Ended,
    Lost,
    Message,
    Offered,
    Replied,
    Stepped,
    Workers,
)
from qexplorer.cluster.parcel import Parcel
from qexplorer.cluster.place import Cluster
from qexplorer.cluster.remote import PACKAGES, require_versions, run_cell, versions
from qexplorer.cluster.study import Cell
from qexplorer.errors import UserError
from qexplorer.text import printable

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_S = 5.0
LEAVE_S = 5.0
RETRY_S = 1.0
ANSWER_S = 1.0
POLL_S = 0.1
LOGGERS = ("distributed", "distributed.client", "tornado.application")


class Conversation:
    """Hands the cells to the cluster when it is made. `next` gives what was heard; `close` ends it at any time.

    `ask` puts a question to a worker, and `drop` takes a cell back; neither waits.
    """

    def __init__(self, cluster: Cluster, cells: Sequence[Cell]) -> None:
        self._cluster = cluster
        self._cells = cells
        self._name = f"qexplorer-{secrets.token_hex(8)}"  # a key that was used is still known where it was cancelled
        self._heard: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._wanted = versions()
        self._workers: set[str] = set()
        self._dropped: set[str] = set()
        self._futures: dict[str, Future] = {}
        self._asked: set[asyncio.Task[None]] = set()
        self._over = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)
        self._thread.start()

    def next(self, timeout_s: float) -> Message | None:
        """The next message; None where nothing was heard for that long."""
        try:
            return self._heard.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def ask(self, key: str, worker: str, number: int, question: Question) -> None:
        """Have the worker of a cell call a function; its answer is heard as `Replied` with that number."""

        def begin() -> None:
            if self._over:
                return
            asking = asyncio.ensure_future(self._ask(key, worker, number, question))
            self._asked.add(asking)  # somebody has to hold it
            asking.add_done_callback(self._asked.discard)

        self._soon(begin)

    def drop(self, key: str) -> None:
        """Take a cell back from the cluster; nothing more is heard of it."""
        self._dropped.add(key)
        self._soon(lambda: self._futures[key].cancel() if key in self._futures else None)

    def close(self) -> None:
        """Cancel what is not done, and leave the cluster."""
        self._closing.set()
        self._thread.join(CONNECT_S + LEAVE_S)

    def _soon(self, call: Callable[[], Any]) -> None:
        with suppress(RuntimeError):  # the talk is over: that it is, is heard
            if self._loop is not None:
                self._loop.call_soon_threadsafe(call)

    def _run(self) -> None:
        try:
            with _silence():
                asyncio.run(self._until_closed())
            self._heard.put(Ended())
        except BaseException as error:  # noqa: BLE001  it is raised where the messages are read
            self._heard.put(Ended(error))

    async def _until_closed(self) -> None:
        self._loop = asyncio.get_running_loop()
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
        self._client = client = Client(self._cluster.address, asynchronous=True, security=security, timeout=CONNECT_S)
        try:
            await self._connect(client)
            self._listen(client)
            self._workers |= await _check_workers(client)
            self._heard.put(Connected(len(self._workers)))
            for cell in self._cells:
                self._futures[cell.key] = self._submit(client, cell)
                await asyncio.sleep(0)
            await asyncio.gather(*(self._follow(key) for key in list(self._futures)))
        finally:
            self._over = True  # whoever asks now hears why it ended, and no answer
            await _leave(client, list(self._futures.values()), self._asked)

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
                             key=self._task(cell.key), pure=False)  # fmt: skip

    async def _ask(self, key: str, worker: str, number: int, question: Question) -> None:
        assert self._client is not None  # noqa: S101  workers are heard of through it
        answer: Any = None
        while worker in self._workers and not self._over:
            try:
                run: Any = self._client.run
                answer = (await run(question.function, self._task(key), *question.args, workers=[worker]))[worker]
            except OSError:  # it is lost, and that will be heard, or it can be reached again
                await asyncio.sleep(RETRY_S)
                continue
            except Exception as error:  # noqa: BLE001  it is raised where the messages are read
                answer = error
            if not self._over:
                self._heard.put(Replied(key, number, answer))
            return

    def _task(self, key: str) -> str:
        return f"{self._name}-{key}"

    async def _follow(self, key: str) -> None:
        """Wait for a cell, and tell what came of it."""
        from distributed import CancelledError, KilledWorker

        try:
            answer: Any = await self._futures[key]
        except KilledWorker as error:
            lost = f"Every worker that had it was lost, {error.allowed_failures + 1} in all."
            self._heard.put(Broken(key, f"{lost} Perhaps it needs more memory than they have."))
        except (asyncio.CancelledError, CancelledError) as error:
            if not self._futures[key].cancelled():
                raise  # it is this conversation that ends
            if key in self._dropped:
                return
            why = printable(str(getattr(error, "reason", "") or "no reason given"), 80)
            what = f"The scheduler at {self._cluster.address} is gone or has let the runs go ({why})."
            raise UserError(what, "What is done is kept.", field="on") from error
        else:
            self._heard.put(Answered(key, str(answer)))
            del self._futures[key]  # the cluster may forget it

    def _on_cell(self, event: dict[str, Any]) -> None:
        key, worker = event["cell"], event["worker"]
        if event["kind"] == "began":
            self._workers.add(worker)  # it may have come after they were counted and before that was listened for
            self._heard.put(Workers(len(self._workers)))
            self._heard.put(Began(key, worker, event["host"]))
        elif event["kind"] == "stepped":
            self._heard.put(Stepped(key, worker, event["phase"], event["fraction"]))
        else:
            parcel = Parcel(event["number"], event["what"], event["name"], event["size"], event["sha256"])
            self._heard.put(Offered(key, worker, parcel))

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


async def _leave(client: "Client", futures: "list[Future]", asked: "set[asyncio.Task[None]]") -> None:
    """Cancel what is not done and close the client, without waiting for a scheduler that is gone.

    Questions that are on their way get a moment: cancelled while Dask greets the other side, they would leave the
    connection open.
    """
    if futures:
        await client.cancel(futures)  # pyright: ignore[reportGeneralTypeIssues]
    if asked:
        _, late = await asyncio.wait(asked, timeout=ANSWER_S)
        for asking in late:
            asking.cancel()
    await client.close(timeout=LEAVE_S)  # pyright: ignore[reportGeneralTypeIssues]


def _first_line(error: BaseException) -> str:
    return printable(str(error).partition("\n")[0].rstrip("."), 300)


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
