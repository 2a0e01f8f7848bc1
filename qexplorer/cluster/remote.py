"""What a worker of a cluster does: run one cell, say how far it is, hand over what is finished, and answer."""

import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qexplorer.errors import UserError

if TYPE_CHECKING:
    from distributed.worker import Worker

    from qexplorer.cluster.desk import Desk

PACKAGES = ("qexplorer", "torch")
"""What has to be of one version here and there: the one that a result depends on, and the one that reads it."""
ONE_AT_A_TIME = threading.Lock()
"""Threads, engine and random numbers are torch's for the whole process, so runs cannot share one."""
EVERY_S = 0.5
STOPPED = ("closing", "closed", "failed")


def versions() -> dict[str, str]:
    """The release of each of `PACKAGES`, without what it was built for; empty where it is not installed."""
    return {package: _release(package) for package in PACKAGES}


def require_versions(worker: str, found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Raise a `UserError` naming the worker, where one of `PACKAGES` is another one there."""
    for package, release in wanted.items():
        if found.get(package) != release:
            has = f"has {package} {found[package]}" if found.get(package) else f"has no {package}"
            what = f"The worker {worker} {has}; here it is {release}."
            raise UserError(what, f"Install {package} {release} on every worker.", field="on")


def run_cell(job: str, settings_json: str, wanted: Mapping[str, str], topic: str, key: str) -> str:
    """Run a cell on this worker. Returns JSON: `result`, or `error` for what the person can mend.

    "" where nobody wants it any more. Events under `topic` tell when it begins, how far it is, and what it hands over:
    every step that is finished, and at the end the files of the models. It keeps no file.
    """
    from distributed import get_worker

    worker = get_worker()
    task = str(worker.get_current_task())
    from qexplorer.cluster.desk import Desk, NotWanted
    from qexplorer.engine.runs.process import host_name

    place = {"worker": worker.address, "host": host_name()}

    def tell(**event: Any) -> None:
        worker.log_event(topic, {"cell": key, "worker": worker.address, **event})

    def is_wanted() -> bool:
        return _is_wanted(worker, task)

    with ONE_AT_A_TIME, _own_folder(worker.local_directory) as folder, Desk(task, folder, tell, is_wanted) as desk:
        if not is_wanted():
            return ""
        tell(kind="began", host=place["host"])
        try:
            require_versions(worker.address, versions(), wanted)
            return json.dumps({**place, "result": _run(job, settings_json, desk, tell)})
        except UserError as error:
            return json.dumps({**place, "error": str(error)})
        except NotWanted:
            return ""


def _run(job: str, settings_json: str, desk: "Desk", tell: Callable[..., None]) -> str:
    from qexplorer.engine.jobs import jobs
    from qexplorer.progress import Progress, finish

    told = time.monotonic()

    def report(step: Progress) -> None:
        nonlocal told
        desk.check_wanted()
        if time.monotonic() - told >= EVERY_S:
            told = time.monotonic()
            tell(kind="stepped", phase=step.phase, fraction=step.fraction or 0.0)

    own, journal = jobs[job](**json.loads(settings_json)), desk.journal()
    own.check()
    result = finish(own.run(desk.folder, journal), report)
    for row in result.rows:
        if row.artifact is not None:
            desk.hand_over_model(row.name, Path(row.artifact))
    return result.to_json()


@contextmanager
def _own_folder(parent: str) -> Iterator[Path]:
    """A folder below that of the worker, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="cell-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _is_wanted(worker: "Worker", task: str) -> bool:
    """Whether the scheduler still waits for a task of this worker."""
    state = worker.state.tasks.get(task)
    return state is not None and state.state == "executing" and worker.status.name not in STOPPED


def _release(package: str) -> str:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return ""
