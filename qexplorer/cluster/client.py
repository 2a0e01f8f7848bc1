"""The runs of a study on a Dask cluster: submitted, followed and written into the run history.

All of it is one asyncio program, which goes on while its generator is stepped: nothing happens between two steps.
"""

import asyncio
import dataclasses
import json
import logging
import secrets
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qexplorer.cluster.address import Address
from qexplorer.cluster.artifact import CHUNK, Artifact, IncomingFile, read_chunk
from qexplorer.cluster.mailbox import Mailbox, call, open_step
from qexplorer.cluster.messages import Offered, Started, Stepped, read_message
from qexplorer.cluster.versions import check_workers, versions
from qexplorer.cluster.worker import run_on_worker
from qexplorer.cluster.writer import RunWriter
from qexplorer.engine.runs.history import History
from qexplorer.engine.studies.manifest import Manifest
from qexplorer.engine.studies.status import StudyStatus
from qexplorer.engine.studies.study import StudyRun
from qexplorer.errors import UserError
from qexplorer.progress import Steps
from qexplorer.settings import write
from qexplorer.text import printable

if TYPE_CHECKING:
    from distributed import Client, Future

STEP_S = 0.05
CONNECT_S = 5.0
LEAVE_S = 5.0
RETRY_S = 1.0
CALLS_S = 1.0
WORKERS = "all"
"""The topic of Dask's own events, among them those of workers that come and go."""
LOGGERS = ("distributed", "distributed.client", "tornado.application")


def run_on_cluster(status: StudyStatus, history: History, manifest: Manifest, address: Address) -> Steps[None]:
    """Run what is left on the workers of a cluster; files that the jobs name have to be there on each of them.

    The run of a lost worker continues on another one, from its last finished step. Raises `UserError` where the
    scheduler cannot be reached or is lost, and where a worker has other versions of this program or of torch.
    """
    writers = {run.key: RunWriter(run, status, history, manifest) for run in status.left}
    client = StudyClient(address, status, writers)
    yield status.progress(client.phase)
    try:
        with _silence(), asyncio.Runner() as runner:
            work = runner.get_loop().create_task(client.run())
            try:
                while not work.done():
                    runner.run(asyncio.wait([work], timeout=STEP_S))
                    yield status.progress(client.phase)
            finally:
                runner.run(_stop(work))
            work.result()
    except BaseException as error:
        for writer in writers.values():
            writer.stop(None if isinstance(error, (GeneratorExit, KeyboardInterrupt)) else error)
        raise


class StudyClient:
    """The owner's side of a study on a cluster. `phase` says in a few words how it is going."""

    def __init__(self, address: Address, status: StudyStatus, writers: dict[str, RunWriter]) -> None:
        self._address, self._status, self._writers = address, status, writers
        self._topic = f"qexplorer-{secrets.token_hex(8)}"  # a cancelled task's key is not used again
        self._versions = versions()
        self._workers: set[str] = set()
        self._latest = ""
        self._connected = False
        self._events: asyncio.Queue[tuple[Callable[[Any], Coroutine[Any, Any, None]], Any]] = asyncio.Queue()
        self._futures: dict[str, Future] = {}
        self._transfers: dict[str, asyncio.Task[None]] = {}
        """What is being sent to or fetched from the worker of a run."""
        self._calls: set[asyncio.Task[Any]] = set()
        self._client: Client
        self._group: asyncio.TaskGroup

    @property
    def phase(self) -> str:
        """How many runs have ended, how many workers there are, and what happened last."""
        if not self._connected:
            return f"Connecting to {self._address.url}"
        n = len(self._workers)
        workers = f"{n} worker{'' if n == 1 else 's'}" if n else "no worker yet"
        head = f"{self._status.ended}/{len(self._status.study.runs)} on {workers}"
        return f"{head}: {self._latest}" if self._latest else head

    async def run(self) -> None:
        """Connect, run every run to its end, and leave the cluster. Raises what ends the study before."""
        from distributed import Client

        security = self._address.security()
        self._client = Client(self._address.url, asynchronous=True, security=security, timeout=CONNECT_S)
        try:
            await self._connect()
            async with asyncio.TaskGroup() as self._group:
                reading = self._group.create_task(self._read_events())
                await asyncio.gather(*(self._follow(run) for run in self._status.left))
                reading.cancel()
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        finally:
            await self._leave()

    async def _connect(self) -> None:
        try:
            await self._client
        except (OSError, ValueError) as error:
            reason = printable(str(error).partition("\n")[0].rstrip("."), 300)
            what = f"No Dask scheduler could be reached at {self._address.url}: {reason}."
            raise UserError(what, "Start one with `dask scheduler`, or check the address.", field="on") from error
        for topic, read in ((self._topic, self._read_message), (WORKERS, self._read_workers)):
            self._client.subscribe_topic(topic, lambda event, read=read: self._events.put_nowait((read, event[1])))
        self._workers |= await check_workers(self._client, self._versions)
        self._connected = True

    async def _follow(self, run: StudyRun) -> None:
        """Submit a run, wait for it, and write what came of it."""
        from distributed import CancelledError, KilledWorker

        settings = json.dumps(write(run.job))
        future = self._futures[run.key] = self._client.submit(
            run_on_worker, run.job.name, settings, self._versions, self._topic, run.key,
            key=self._task(run.key), pure=False)  # fmt: skip
        try:
            answer: Any = await future
        except KilledWorker as error:
            lost = f"Every worker that had it was lost, {error.allowed_failures + 1} in all."
            await self._fail(run.key, f"{lost} It may need more memory than they have.")
        except (asyncio.CancelledError, CancelledError) as error:
            if not future.cancelled():
                raise  # the study ends
            if self._status[run.key].ended:
                return
            why = printable(str(getattr(error, "reason", "") or "no reason given"), 80)
            what = f"The scheduler at {self._address.url} is gone or has dropped the runs ({why})."
            raise UserError(what, "Finished runs are kept.", field="on") from error
        else:
            await self._stop_transfer(run.key)
            self._writers[run.key].end(answer)
            self._say(run.key, self._status[run.key].status)
            del self._futures[run.key]  # the cluster may forget it

    async def _fail(self, key: str, error: str) -> None:
        await self._stop_transfer(key)
        self._writers[key].fail(error)
        cancelling: Any = self._client.cancel([self._futures[key]])
        await cancelling
        self._say(key, self._status[key].status)

    async def _read_events(self) -> None:
        while True:
            read, event = await self._events.get()
            await read(event)

    async def _read_workers(self, event: Any) -> None:
        """Read an event of Dask's about a worker."""
        action, worker = event.get("action"), event.get("worker", "")
        if action == "add-worker":
            self._workers.add(worker)
        elif action == "remove-worker":
            self._workers.discard(worker)
            for key, writer in self._writers.items():
                if writer.worker == worker and not writer.status.ended:
                    await self._stop_transfer(key)
                    writer.lose_worker()
                    self._latest = "a worker was lost; its run continues on another one"

    async def _read_message(self, event: Any) -> None:
        """Read an event of a worker's about its run. One that is not understood fails the run."""
        try:
            message = read_message(event)
        except UserError as error:
            key = event.get("key") if isinstance(event, dict) else None
            if key in self._writers and not self._status[key].ended:
                await self._fail(key, str(error))
            return
        key, writer = message.key, self._writers.get(message.key)
        if writer is None or writer.status.ended:
            return
        match message:
            case Started():
                await self._stop_transfer(key)
                self._workers.add(message.worker)  # it may have come while they were counted
                writer.start(message.worker, message.host)
                self._start_transfer(key, self._send_steps(key, writer))
                self._say(key)
            case Stepped() if message.worker == writer.worker:
                writer.step(printable(message.phase, 200), message.fraction)
                self._say(key, writer.status.phase)
            case Offered() if message.worker == writer.worker:
                await self._stop_transfer(key)
                self._start_transfer(key, self._fetch(key, writer, message.artifact))
            case _:
                pass

    def _start_transfer(self, key: str, transfer: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await transfer
            except UserError as error:
                await self._fail(key, str(error))

        self._transfers[key] = self._group.create_task(guarded())

    async def _stop_transfer(self, key: str) -> None:
        """Stop what is sent or fetched for a run; when this returns, there is no half of a file."""
        transfer = self._transfers.pop(key, None)
        if transfer is not None and transfer is not asyncio.current_task():
            transfer.cancel()
            await asyncio.wait([transfer])

    async def _send_steps(self, key: str, writer: RunWriter) -> None:
        """Send the finished steps of a run to its worker, and let it begin."""
        journal = writer.journal
        for number, name in enumerate(journal.keys("")):
            kind, content = open_step(journal, name)
            with content:
                artifact, offset = Artifact.of(number, kind, name, content), 0
                while artifact.fits and (chunk := read_chunk(content, offset, CHUNK)):
                    await self._call(key, writer, Mailbox.write, dataclasses.asdict(artifact), offset, chunk)
                    offset += len(chunk)
        await self._call(key, writer, Mailbox.proceed, 0)

    async def _fetch(self, key: str, writer: RunWriter, artifact: Artifact) -> None:
        """Fetch an artifact unless it is too large, and let the worker continue."""
        if artifact.fits:
            with IncomingFile(artifact, writer.incoming) as file:
                while not file.complete:
                    file.write(
                        file.size, await self._call(key, writer, Mailbox.read, artifact.number, file.size, CHUNK)
                    )
                    writer.receive(artifact, file.size)
                writer.keep(artifact, file.close())
        else:
            writer.leave(artifact)
        await self._call(key, writer, Mailbox.proceed, artifact.number)

    async def _call(self, key: str, writer: RunWriter, method: Callable[..., Any], *args: Any) -> Any:
        """Call the mailbox of a run on its worker. Raises `UserError` with the worker's words.

        A call is never cancelled: while Dask connects, that would leave a socket open.
        """
        while True:
            run: Any = self._client.run(call, self._task(key), method, *args, workers=[writer.worker])
            calling = asyncio.ensure_future(run)
            self._calls.add(calling)
            calling.add_done_callback(self._calls.discard)
            try:
                (answer,) = (await asyncio.shield(calling)).values()
            except OSError:  # it is lost, which ends this transfer soon, or it can be reached again
                await asyncio.sleep(RETRY_S)
                continue
            if not answer:
                await asyncio.Event().wait()  # the run has ended, and with it this transfer
            if "error" in answer:
                raise UserError(printable(str(answer["error"]), 2000))
            return answer["answer"]

    async def _leave(self) -> None:
        """Cancel what is not done and close the client, without waiting for a scheduler that is gone.

        Calls on their way get a moment before they are cancelled.
        """
        client: Any = self._client
        if self._futures:
            await client.cancel(list(self._futures.values()))
        if self._calls:
            _, late = await asyncio.wait(self._calls, timeout=CALLS_S)
            for calling in late:
                calling.cancel()
        await client.close(timeout=LEAVE_S)

    def _task(self, key: str) -> str:
        return f"{self._topic}-{key}"

    def _say(self, key: str, what: str = "") -> None:
        """Say what happened last, unless it would hide that a run has to start again."""
        if not any(writer.restarting for writer in self._writers.values()):
            self._latest = f"{self._status[key].label}: {what}" if what else self._status[key].label


async def _stop(work: "asyncio.Task[None]") -> None:
    """Cancel a task and wait for its end, but not for ever."""
    work.cancel()
    await asyncio.wait([work], timeout=CONNECT_S + LEAVE_S)
    if work.done() and not work.cancelled():
        work.exception()  # or asyncio would warn that nobody looked at it


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
