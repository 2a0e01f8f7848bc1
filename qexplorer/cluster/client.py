"""The owner's side of a study on a Dask cluster: it submits the runs, follows them and has them written."""

import asyncio
import json
import secrets
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from qexplorer.cluster.address import Address
from qexplorer.cluster.artifact import CHUNK, Artifact, IncomingFile, read_chunk
from qexplorer.cluster.mailbox import Mailbox, call, open_step
from qexplorer.cluster.messages import Offered, Started, Stepped, read_message, text_of
from qexplorer.cluster.versions import check_workers, versions
from qexplorer.cluster.worker import run_on_worker
from qexplorer.cluster.writer import RunWriter
from qexplorer.engine.studies.status import StudyStatus
from qexplorer.errors import UserError
from qexplorer.settings import write
from qexplorer.text import printable

if TYPE_CHECKING:
    from distributed import Client, Future

Handler = Callable[..., Coroutine[Any, Any, None]]
CONNECT_S = 5.0
LEAVE_S = 5.0
RETRY_S = 1.0
CALLS_S = 1.0
WORKERS = "all"
"""The topic of Dask's own events, among them those of workers that come and go."""


class StudyClient:
    """The owner's side of a study on a cluster. `phase` says in a few words how it is going."""

    def __init__(self, address: Address, status: StudyStatus, writers: Mapping[str, RunWriter]) -> None:
        self._address, self._status, self._writers = address, status, writers
        self._topic = f"qexplorer-{secrets.token_hex(8)}"  # a cancelled task's key is not used again
        self._versions = versions()
        self._workers: set[str] = set()
        self._latest = ""
        self._connected = False
        self._heard: asyncio.Queue[tuple[Handler, tuple[Any, ...]]] = asyncio.Queue()
        """What was heard, with its handler. It is handled one after the other."""
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
                for writer in self._writers.values():
                    self._group.create_task(self._follow(writer))
                while self._status.ended < len(self._status.study.runs):
                    handler, args = await self._heard.get()
                    await handler(*args)
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
        self._client.subscribe_topic(self._topic, lambda event: self._tell(self._on_message, event[1]))
        self._client.subscribe_topic(WORKERS, lambda event: self._tell(self._on_workers, event[1]))
        self._workers |= await check_workers(self._client, self._versions)
        self._connected = True

    async def _follow(self, writer: RunWriter) -> None:
        """Submit a run and wait for its end."""
        from distributed import CancelledError, KilledWorker

        run = writer.run
        future = self._futures[run.key] = self._client.submit(
            run_on_worker, run.job.name, json.dumps(write(run.job)), self._versions, self._topic, run.key,
            key=self._task(run.key), pure=False)  # fmt: skip
        try:
            answer: Any = await future
        except KilledWorker as error:
            lost = f"Every worker that had it was lost, {error.allowed_failures + 1} in all."
            self._tell(self._fail, writer, f"{lost} It may need more memory than they have.")
        except (asyncio.CancelledError, CancelledError) as error:
            if not future.cancelled():
                raise  # the study ends
            if writer.status.ended:
                return  # it was cancelled because it has failed
            why = printable(str(getattr(error, "reason", "") or "no reason given"), 80)
            what = f"The scheduler at {self._address.url} is gone or has dropped the runs ({why})."
            raise UserError(what, "Finished runs are kept.", field="on") from error
        else:
            self._tell(self._on_answer, writer, answer)
            self._futures.pop(run.key, None)  # the cluster may forget it

    def _tell(self, handler: Handler, *args: Any) -> None:
        """Have something handled that was heard."""
        self._heard.put_nowait((handler, args))

    async def _on_answer(self, writer: RunWriter, answer: Any) -> None:
        """A worker has returned from a run."""
        if not writer.status.ended:
            await self._stop_transfer(writer)
            writer.end(answer)
            self._say(writer, writer.status.status)

    async def _fail(self, writer: RunWriter, error: str) -> None:
        """A run has failed: for the cluster, or in what its worker sent."""
        if not writer.status.ended:
            await self._stop_transfer(writer)
            writer.fail(error)
            self._say(writer, writer.status.status)
        if writer.run.key in self._futures:
            cancelling: Any = self._client.cancel([self._futures.pop(writer.run.key)])
            await cancelling

    async def _on_workers(self, event: Any) -> None:
        """Dask says something about a worker."""
        action, worker = text_of(event, "action"), text_of(event, "worker")
        if action == "add-worker":
            self._workers.add(worker)
        elif action == "remove-worker":
            self._workers.discard(worker)
            for writer in self._writers.values():
                if writer.worker == worker and not writer.status.ended:
                    await self._stop_transfer(writer)
                    writer.lose_worker()
                    self._latest = "a worker was lost; its run continues on another one"

    async def _on_message(self, event: Any) -> None:
        """A worker says something about its run, which fails where it is not understood."""
        writer = self._writers.get(text_of(event, "key"))
        if writer is None or writer.status.ended:
            return
        try:
            message = read_message(event)
        except UserError as error:
            await self._fail(writer, str(error))
            return
        match message:
            case Started():
                await self._stop_transfer(writer)
                self._workers.add(message.worker)  # it may have come while they were counted
                writer.start(message.worker, message.host)
                self._start_transfer(writer, self._send_steps)
                self._say(writer)
            case Stepped() if message.worker == writer.worker:
                writer.step(printable(message.phase, 200), message.fraction)
                self._say(writer, writer.status.phase)
            case Offered() if message.worker == writer.worker:
                await self._stop_transfer(writer)
                self._start_transfer(writer, self._fetch, message.artifact)
            case _:
                pass

    def _start_transfer(self, writer: RunWriter, transfer: Handler, *args: Any) -> None:
        async def guarded() -> None:
            try:
                await transfer(writer, *args)
            except UserError as error:
                self._tell(self._fail, writer, str(error))

        self._transfers[writer.run.key] = self._group.create_task(guarded())

    async def _stop_transfer(self, writer: RunWriter) -> None:
        """Stop all transfers of a run. When this returns, no partial file is left."""
        transfer = self._transfers.pop(writer.run.key, None)
        if transfer is not None:
            transfer.cancel()
            await asyncio.wait([transfer])

    async def _send_steps(self, writer: RunWriter) -> None:
        """Send the finished steps of a run to its worker, and let it begin."""
        journal = writer.journal
        for number, name in enumerate(journal.keys("")):
            kind, content = open_step(journal, name)
            with content:
                artifact, offset = Artifact.of(number, kind, name, content), 0
                while artifact.fits and (chunk := read_chunk(content, offset, CHUNK)):
                    await self._call(writer, Mailbox.write, write(artifact), offset, chunk)
                    offset += len(chunk)
        await self._call(writer, Mailbox.proceed, 0)

    async def _fetch(self, writer: RunWriter, artifact: Artifact) -> None:
        """Fetch an artifact unless it is too large, and let the worker continue."""
        if artifact.fits:
            with IncomingFile(artifact, writer.incoming) as file:
                while not file.complete:
                    file.write(file.size, await self._call(writer, Mailbox.read, artifact.number, file.size, CHUNK))
                    writer.receive(artifact, file.size)
                writer.keep(artifact, file.close())
        else:
            writer.leave(artifact)
        await self._call(writer, Mailbox.proceed, artifact.number)

    async def _call(self, writer: RunWriter, method: Callable[..., Any], *args: Any) -> Any:
        """Call the mailbox of a run on its worker. Raises `UserError` with the worker's words.

        A call is never cancelled: while Dask connects, that would leave a socket open.
        """
        while True:
            run: Any = self._client.run(call, self._task(writer.run.key), method, *args, workers=[writer.worker])
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

    def _say(self, writer: RunWriter, what: str = "") -> None:
        """Say what happened last, unless it would hide that a run has to start again."""
        if not any(each.restarting for each in self._writers.values()):
            self._latest = f"{writer.run.label}: {what}" if what else writer.run.label
