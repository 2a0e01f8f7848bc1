"""The runs of a study on a Dask cluster."""

import asyncio

from qexplorer.cluster.address import Address
from qexplorer.cluster.client import CONNECT_S, StudyClient
from qexplorer.cluster.writer import RunWriter
from qexplorer.engine.runs.history import History
from qexplorer.engine.studies.manifest import Manifest
from qexplorer.engine.studies.status import StudyStatus
from qexplorer.progress import Steps

STEP_S = 0.05


def run_on_cluster(status: StudyStatus, history: History, manifest: Manifest, address: Address) -> Steps[None]:
    """Run what is left on the workers of a cluster; files that the jobs name have to be there on each of them.

    The run of a lost worker continues on another one, from its last finished step. Raises `UserError` where the
    scheduler cannot be reached or is lost, and where a worker has other versions of this program or of torch.
    """
    writers = {run.key: RunWriter(run, status, history, manifest) for run in status.left}
    client = StudyClient(address, status, writers)
    yield status.progress(client.phase)
    try:
        with asyncio.Runner() as runner:
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
    await asyncio.wait([work], timeout=CONNECT_S)
    if work.done() and not work.cancelled():
        work.exception()  # otherwise asyncio warns that the exception was never retrieved
