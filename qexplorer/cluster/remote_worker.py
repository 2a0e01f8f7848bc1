"""A worker as the study's owner sees it: what is asked of it goes through the scheduler, and comes back as data."""

import asyncio
import importlib
import json
import pickle
from typing import Any, cast

from qexplorer.cluster.artifact import Artifact
from qexplorer.cluster.connection import Connection
from qexplorer.cluster.messages import Hello, Report, unpack
from qexplorer.cluster.worker import OPERATION, install
from qexplorer.cluster.writer import WorkerBug
from qexplorer.engine.jobs import Job
from qexplorer.errors import UserError
from qexplorer.settings import write
from qexplorer.text import printable

TRIES, RETRY_S = 3, 0.5
"""How often the scheduler tries to reach a worker, which may be starting or have no connection left."""
TEXT = 2000
"""The most characters that are kept of a worker's words."""


class WorkerLostError(Exception):
    """The worker does not answer, or knows nothing of the run any more."""


class RemoteWorker:
    """The worker with that address, through a connection to its scheduler.

    Every call raises `WorkerLostError` where it does not answer, `UserError` with the worker's own words, `WorkerBug`,
    and `ConnectionError` where the scheduler is gone.
    """

    def __init__(self, connection: Connection, address: str) -> None:
        self._connection, self.address = connection, address

    async def prepare(self) -> Hello:
        """Have it answer. Raises `UserError` where it cannot load this program."""
        found = await self._run(importlib.import_module, install.__module__)
        if found.get("status") != "OK":
            why = printable(str(found.get("exception_text", "")), 300)
            what = f"The worker {self.address} cannot load this version of qexplorer: {why}."
            raise UserError(what, "Install the same version of qexplorer on every worker.", field="on")
        await self._run(install)
        return unpack(Hello, await self._ask("hello"))

    async def begin(self, run: str, job: Job) -> bool:
        """Have it begin a run; False where it is busy with another one."""
        return await self._ask("begin", run=run, job=job.name, settings=json.dumps(write(job))) is True

    async def report(self, run: str) -> Report:
        """How far a run is."""
        return unpack(Report, await self._ask("report", run=run))

    async def write(self, run: str, artifact: Artifact, offset: int, chunk: bytes) -> None:
        """Send a chunk of a finished step."""
        await self._ask("write", run=run, artifact=json.dumps(write(artifact)), offset=offset, chunk=chunk)

    async def read(self, run: str, artifact: Artifact, offset: int, size: int) -> Any:
        """The next chunk of an artifact."""
        return await self._ask("read", run=run, number=artifact.number, offset=offset, size=size)

    async def proceed(self, run: str, number: int) -> None:
        """Let a run continue."""
        await self._ask("proceed", run=run, number=number)

    async def stop(self, run: str) -> None:
        """End a run that nobody wants any more."""
        await self._ask("stop", run=run)

    async def _run(self, function: Any, *args: Any) -> dict[Any, Any]:
        """Have Dask call a function of a module there; what it returns is a pickle, which stays unread."""
        return await self._broadcast({"op": "run", "function": pickle.dumps(function), "args": pickle.dumps(args)})

    async def _ask(self, call: str, **how: Any) -> Any:
        answer = await self._broadcast({"op": OPERATION, "call": call, **how})
        if "error" in answer:
            raise UserError(printable(str(answer["error"]), TEXT))
        if "bug" in answer:
            raise WorkerBug(str(answer["bug"]))
        if "answer" not in answer:
            raise WorkerLostError(self.address)
        return answer["answer"]

    async def _broadcast(self, message: dict[str, Any]) -> dict[Any, Any]:
        for _ in range(TRIES):
            answers = await self._connection.call("broadcast", msg=message, workers=[self.address], on_error="ignore")
            answer = cast("dict[Any, Any]", answers).get(self.address) if isinstance(answers, dict) else None
            if isinstance(answer, dict):
                return cast("dict[Any, Any]", answer)
            await asyncio.sleep(RETRY_S)
        raise WorkerLostError(self.address)
