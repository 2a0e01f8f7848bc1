"""The owner's side of a study on a Dask cluster: it has each worker run one run after the other."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

from qexplorer.cluster.address import URL, Address
from qexplorer.cluster.connection import Connection
from qexplorer.cluster.exchange import Exchange
from qexplorer.cluster.messages import Hello
from qexplorer.cluster.remote_worker import RemoteWorker, WorkerLostError
from qexplorer.cluster.versions import require_versions, versions
from qexplorer.cluster.writer import RunWriter
from qexplorer.engine.studies.status import StudyStatus
from qexplorer.errors import UserError
from qexplorer.text import printable

CONNECT_S, ANSWER_S = 5.0, 30.0
WATCH_S = 0.3
RETRY_S = 0.5
MOST_WORKERS = 200
"""Each has a connection of its own."""
ALLOWED_LOSSES = 3
"""A run that loses more workers is told to be the cause."""


class StudyClient:
    """The owner's side of a study on a cluster. `phase` says in a few words how it is going."""

    def __init__(self, address: Address, status: StudyStatus, writers: Mapping[str, RunWriter]) -> None:
        self._address, self._status, self._writers = address, status, writers
        self._versions = versions()
        self._waiting: asyncio.PriorityQueue[tuple[int, str]] = asyncio.PriorityQueue()
        """The runs that no worker has: their numbers and keys."""
        self._losses: Counter[str] = Counter()
        self._serving: dict[str, asyncio.Task[None]] = {}
        """The workers, with what each does for this study."""
        self._changed = asyncio.Event()
        self._latest = ""
        self._connected = False

    @property
    def phase(self) -> str:
        """How many runs have ended, how many workers there are, and what happened last."""
        if not self._connected:
            return f"Connecting to {self._address.url}"
        n = len(self._serving)
        workers = f"{n} worker{'' if n == 1 else 's'}" if n else "no worker yet"
        head = f"{self._status.ended}/{len(self._status.study.runs)} on {workers}"
        return f"{head}: {self._latest}" if self._latest else head

    async def run(self) -> None:
        """Connect, run every run to its end, and leave the cluster. Raises what ends the study before."""
        for writer in self._writers.values():
            self._put_back(writer)
        scheduler = Connection(self._address, CONNECT_S)
        try:
            workers = await self._list(scheduler)
            async with asyncio.TaskGroup() as checks:
                for worker in workers:
                    checks.create_task(self._check(worker))
            self._connected = True
            async with asyncio.TaskGroup() as group:
                while self._status.ended < len(self._status.study.runs):
                    await self._serve_all(workers, group)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), WATCH_S)
                    self._changed.clear()
                    workers = await self._list(scheduler)
                for serving in self._serving.values():
                    serving.cancel()
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        finally:
            await scheduler.close()

    async def _list(self, scheduler: Connection) -> set[str]:
        """The addresses of the workers. Raises `UserError` where the scheduler is gone."""
        try:
            async with asyncio.timeout(ANSWER_S):
                found = await scheduler.call("ncores")
        except (ConnectionError, TimeoutError) as error:
            raise self._gone(error) from error
        names: list[object] = list(found) if isinstance(found, dict) else []
        return set([name for name in names if isinstance(name, str) and URL.fullmatch(name)][:MOST_WORKERS])

    async def _check(self, address: str) -> None:
        """Raise a `UserError` where a worker that is there at the start has other versions."""
        connection = Connection(self._address, CONNECT_S)
        try:
            with suppress(WorkerLostError):
                await self._prepare(RemoteWorker(connection, address))
        except ConnectionError as error:
            raise self._gone(error) from error
        finally:
            await connection.close()

    async def _prepare(self, worker: RemoteWorker) -> Hello:
        hello = await worker.prepare()
        require_versions(worker.address, hello.versions, self._versions)
        return hello

    async def _serve_all(self, workers: set[str], group: asyncio.TaskGroup) -> None:
        """Have each worker work for the study, and give up those that are gone."""
        for address in self._serving.keys() - workers:
            serving = self._serving.pop(address)
            serving.cancel()
            await asyncio.wait([serving])
        for address in sorted(workers - self._serving.keys()):
            self._serving[address] = group.create_task(self._serve(address))

    async def _serve(self, address: str) -> None:
        """Have a worker run what is left, as long as it is there."""
        connection = Connection(self._address, CONNECT_S)
        worker = RemoteWorker(connection, address)
        try:
            while True:
                with suppress(WorkerLostError):
                    hello = await self._usable(worker)
                    while await self._run_one(worker, hello.host):
                        self._changed.set()
                await asyncio.sleep(RETRY_S)
        except ConnectionError as error:
            raise self._gone(error) from error
        finally:
            await connection.close()

    async def _usable(self, worker: RemoteWorker) -> Hello:
        """A worker's greeting; one with other versions is waited for in vain, while others go on."""
        try:
            return await self._prepare(worker)
        except UserError as error:
            self._latest = f"{error.what} It is not used."
            self._status.note(self._latest)
        return await asyncio.get_running_loop().create_future()

    async def _run_one(self, worker: RemoteWorker, host: str) -> bool:
        """Have a worker run the next run to its end. False where the worker has lost it."""
        writer = self._writers[(await self._waiting.get())[1]]
        exchange = Exchange(writer, worker)
        try:
            if await exchange.begin():
                writer.start(worker.address, host)
                await exchange.follow(self._say)
                self._say(writer)
                return True
            self._put_back(writer)
        except UserError as error:
            await exchange.stop(self._address)
            writer.fail(str(error))
            return True
        except WorkerLostError:
            self._lose(writer)
            return False
        except asyncio.CancelledError:
            if self._serving.get(worker.address) is asyncio.current_task():  # the study ends
                await exchange.stop(self._address)
            else:
                self._lose(writer)
            raise
        await asyncio.sleep(RETRY_S)  # it is busy with a run of somebody else's
        return True

    def _lose(self, writer: RunWriter) -> None:
        """The worker of a run is gone: another one continues it, unless it has lost too many."""
        if writer.status.ended:
            return
        if writer.worker:
            self._losses[writer.run.key] += 1
            if self._losses[writer.run.key] > ALLOWED_LOSSES:
                lost = f"Every worker that had it was lost, {self._losses[writer.run.key]} in all."
                writer.fail(f"{lost} It may need more memory than they have.")
                return
            writer.lose_worker()
            self._latest = "a worker was lost; its run continues on another one"
        self._put_back(writer)

    def _put_back(self, writer: RunWriter) -> None:
        self._waiting.put_nowait((writer.run.number, writer.run.key))

    def _say(self, writer: RunWriter) -> None:
        """Say what happened last, unless it would hide that a run has to start again."""
        if not any(each.restarting for each in self._writers.values()):
            status = writer.status
            what = status.status if status.ended else status.phase
            self._latest = f"{writer.run.label}: {what}" if what else writer.run.label

    def _gone(self, error: OSError) -> UserError:
        reason = printable(str(error).partition("\n")[0].rstrip("."), 300)
        if self._connected:
            what = f"The scheduler at {self._address.url} is gone: {reason}."
            return UserError(what, "Finished runs are kept.", field="on")
        what = f"No Dask scheduler could be reached at {self._address.url}: {reason}."
        return UserError(what, "Start one with `dask scheduler`, or check the address.", field="on")
