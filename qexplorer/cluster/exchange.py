"""What the study's owner and a worker exchange about one run: finished steps there, reports and artifacts back."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress

from qexplorer.cluster.address import Address
from qexplorer.cluster.artifact import CHUNK, Artifact, IncomingFile, read_chunk
from qexplorer.cluster.connection import Connection
from qexplorer.cluster.mailbox import open_step
from qexplorer.cluster.remote_worker import RemoteWorker, WorkerLostError
from qexplorer.cluster.writer import RunWriter, WorkerBug
from qexplorer.errors import UserError
from qexplorer.text import printable

LEAVE_S = 2.0


class Exchange:
    """One attempt at a run, by a worker."""

    def __init__(self, writer: RunWriter, worker: RemoteWorker) -> None:
        self._writer, self._worker = writer, worker
        self._run = secrets.token_hex(8)  # it was never used, so no late answer can belong to it

    async def begin(self) -> bool:
        """Have the worker begin; False where it is busy."""
        return await self._worker.begin(self._run, self._writer.run.job)

    async def follow(self, say: Callable[[RunWriter], None]) -> None:
        """Send what is finished already, then write down what the worker reports until the run has ended.

        `say` hears of every report. Raises `UserError` where what comes is damaged.
        """
        await self._send_steps()
        fetched = 0
        while not self._writer.status.ended:
            report = await self._worker.report(self._run)
            self._writer.step(printable(report.phase, 200), report.fraction)
            say(self._writer)
            if report.artifact is not None and report.artifact.number > fetched:
                await self._fetch(report.artifact)
                fetched = report.artifact.number

    async def stop(self, address: Address) -> None:
        """Tell the worker that nobody wants the run any more, by a connection of its own, and without waiting long."""
        connection = Connection(address, LEAVE_S)
        with suppress(OSError, UserError, WorkerLostError, WorkerBug):
            async with asyncio.timeout(LEAVE_S):
                await RemoteWorker(connection, self._worker.address).stop(self._run)
        await connection.close()

    async def _send_steps(self) -> None:
        journal = self._writer.journal
        for number, name in enumerate(journal.keys("")):
            kind, content = open_step(journal, name)
            with content:
                artifact, offset = Artifact.of(number, kind, name, content), 0
                while artifact.fits and (chunk := read_chunk(content, offset, CHUNK)):
                    await self._worker.write(self._run, artifact, offset, chunk)
                    offset += len(chunk)
        await self._worker.proceed(self._run, 0)

    async def _fetch(self, artifact: Artifact) -> None:
        """Fetch an artifact unless it is too large, and let the worker continue."""
        if artifact.fits:
            with IncomingFile(artifact, self._writer.incoming) as file:
                while not file.complete:
                    file.write(file.size, await self._worker.read(self._run, artifact, file.size, CHUNK))
                    self._writer.receive(artifact, file.size)
                self._writer.keep(artifact, file.close())
        else:
            self._writer.leave(artifact)
        await self._worker.proceed(self._run, artifact.number)
