"""A job, written into the run history as it happens."""

import dataclasses
import shutil
from contextlib import suppress

from qexplorer.engine.history import History
from qexplorer.engine.jobs import Job
from qexplorer.engine.results import RunResult
from qexplorer.progress import Steps


def recorded(job: Job, history: History) -> Steps[RunResult]:
    """Run `job` with its files in the history's folder; the result is committed before it is returned.

    The history says running from the first step on, and in the end done, failed with the error, or cancelled. A run
    that is not done leaves no files; one that could not have begun leaves nothing.
    """
    job.check()
    run_id = history.start(job.name, dataclasses.asdict(job))
    folder = history.folder(run_id)
    done = False
    try:
        result = dataclasses.replace((yield from job.run(folder)), run_id=run_id)
        history.finish(run_id, result.to_json())
        done = True
    except (GeneratorExit, KeyboardInterrupt):
        with suppress(Exception):
            history.cancel(run_id)
        raise
    except BaseException as error:
        with suppress(Exception):  # what went wrong first is what the person has to hear of
            history.fail(run_id, str(error) or type(error).__name__)
        raise
    finally:
        if not done:
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.rmdir()  # only where it is empty: a job may have kept no files
    return result
