"""What a worker of a cluster does: run one cell, say how far it is, and answer with all that belongs in the history."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from qexplorer.errors import UserError

if TYPE_CHECKING:
    from distributed.worker import Worker

PACKAGES = ("qexplorer", "torch")
"""What has to be of one version here and there: the one that a result depends on, and the one that reads it."""
ONE_AT_A_TIME = threading.Lock()
"""Threads, engine and random numbers are torch's for the whole process, so runs cannot share one."""
EVERY_S = 0.5
STOPPED = ("closing", "closed", "failed")


class NotWanted(Exception):  # noqa: N818  it is no error: the person has cancelled
    """Nobody waits for this cell any more."""


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
    """Run a cell on this worker. Returns JSON: `result` and `steps`, or `error` for what the person can mend.

    "" where nobody wants it any more. Events under `topic` tell when it begins and how far it is.
    """
    from distributed import get_worker

    worker = get_worker()
    task = str(worker.get_current_task())
    from qexplorer.engine.process import host_name

    place = {"worker": worker.address, "host": host_name()}

    def tell(**event: Any) -> None:
        worker.log_event(topic, {"cell": key, "worker": worker.address, **event})

    with ONE_AT_A_TIME:
        if not _is_wanted(worker, task):
            return ""
        tell(kind="began", host=place["host"])
        try:
            require_versions(worker.address, versions(), wanted)
            return json.dumps({**place, **_run(job, settings_json, lambda: _is_wanted(worker, task), tell)})
        except UserError as error:
            return json.dumps({**place, "error": str(error)})
        except NotWanted:
            return ""


def _run(job: str, settings_json: str, is_wanted: Callable[[], bool], tell: Callable[..., None]) -> dict[str, Any]:
    from qexplorer.engine.jobs import jobs
    from qexplorer.engine.journal import EVALUATED, POINT, Journal
    from qexplorer.progress import Progress, finish

    told = time.monotonic()

    def report(step: Progress) -> None:
        nonlocal told
        if not is_wanted():
            raise NotWanted
        if time.monotonic() - told >= EVERY_S:
            told = time.monotonic()
            tell(kind="stepped", phase=step.phase, fraction=step.fraction or 0.0)

    own, journal = jobs[job](**json.loads(settings_json)), Journal()
    own.check()
    result = finish(own.run(None, journal), report)
    kept = [*journal.keys(EVALUATED), *journal.keys(POINT)]
    return {"result": result.to_json(), "steps": {step: journal.get(step) for step in kept}}


def _is_wanted(worker: "Worker", task: str) -> bool:
    """Whether the scheduler still waits for a task of this worker."""
    state = worker.state.tasks.get(task)
    return state is not None and state.state == "executing" and worker.status.name not in STOPPED


def _release(package: str) -> str:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return ""
