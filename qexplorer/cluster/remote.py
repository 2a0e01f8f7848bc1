"""The runs of a study on a Dask cluster."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from qexplorer.cluster.address import Address
from qexplorer.cluster.client import CONNECT_S, LEAVE_S, StudyClient
from qexplorer.cluster.writer import RunWriter
from qexplorer.engine.runs.history import History
from qexplorer.engine.studies.manifest import Manifest
from qexplorer.engine.studies.status import StudyStatus
from qexplorer.progress import Steps

STEP_S = 0.05
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


async def _stop(work: "asyncio.Task[None]") -> None:
    """Cancel a task and wait for its end, but not for ever."""
    work.cancel()
    await asyncio.wait([work], timeout=CONNECT_S + LEAVE_S)
    if work.done() and not work.cancelled():
        work.exception()  # otherwise asyncio warns that the exception was never retrieved


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
