"""What a worker does: run one job at a time on a thread, and answer the study's owner who asks about it.

`install` adds one operation to a Dask worker. Its messages and answers are texts, numbers and bytes, never pickles.
"""

import asyncio
import json
import threading
import time
import traceback
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from qexplorer.cluster.artifact import END, MODEL, Artifact
from qexplorer.cluster.mailbox import Mailbox, Unwanted
from qexplorer.cluster.messages import Hello, pack
from qexplorer.cluster.versions import versions
from qexplorer.engine.jobs import jobs
from qexplorer.engine.runs.process import host_name
from qexplorer.errors import UserError
from qexplorer.progress import Progress, finish
from qexplorer.settings import read

if TYPE_CHECKING:
    from distributed import Worker

OPERATION = "qexplorer"
ENDS = ("closing", "closed", "failed")
"""How Dask calls a worker that ends."""
MAILBOXES: dict[str, Mailbox] = {}
"""The mailbox of the run of this process: threads, engine and random numbers are torch's for the whole of it, so runs
cannot share one."""
EVERY_S, NAP_S = 0.5, 0.02
"""How long a report is held back while its run offers nothing, and how often that is looked at."""
MOST_TEXT = 10_000


def install(dask_worker: "Worker") -> None:
    """Let a worker answer owners of studies. Dask calls it on the worker's own thread."""

    def is_closing() -> bool:
        return dask_worker.status.name in ENDS

    async def answer(call: str, **how: Any) -> dict[str, Any]:
        if call == "begin":
            how |= {"folder": dask_worker.local_directory, "is_closing": is_closing}
        return await answered(call, **how)

    dask_worker.handlers.setdefault(OPERATION, answer)


async def answered(call: str, run: str = "", **how: Any) -> dict[str, Any]:
    """The `answer` to a call of an owner's about its run: bytes, or a yes or no; or the `error` that it raised; or a
    `bug`; or nothing if there is no such run here.
    """
    try:
        if call == "hello":
            return {"answer": pack(Hello(host_name(), versions()))}
        if call == "begin":
            return {"answer": _begin(run, **how)}
        mailbox = MAILBOXES.get(run)
        if mailbox is None:
            return {}
        mailbox.hear()
        return {"answer": await _call(mailbox, call, **how)}
    except UserError as error:
        return {"error": str(error)}
    except Exception:  # noqa: BLE001  the owner has to hear of it
        return {"bug": traceback.format_exc()[-MOST_TEXT:]}


async def _call(mailbox: Mailbox, call: str, artifact: str = "", **how: Any) -> bytes:
    match call:
        case "report":
            until = time.monotonic() + EVERY_S
            while mailbox.report.artifact is None and time.monotonic() < until:
                await asyncio.sleep(NAP_S)
            return pack(mailbox.report)
        case "read":
            return mailbox.read(**how)
        case "write":
            mailbox.write(read(Artifact, json.loads(artifact), "the step", strict=True), **how)
        case "proceed":
            mailbox.proceed(**how)
        case "stop":
            mailbox.stop()
        case _:
            raise UserError(f"A worker of this version knows no call “{call}”.")
    return b""


def _begin(run: str, job: str, settings: str, folder: str, is_closing: Callable[[], bool]) -> bool:
    """Begin a run, unless it has begun; whether it has, and not another one is here."""
    if not MAILBOXES:
        space = TemporaryDirectory(prefix="run-", dir=folder, ignore_cleanup_errors=True)
        mailbox = MAILBOXES[run] = Mailbox(Path(space.name), is_closing)
        threading.Thread(target=_work, args=(run, space, mailbox, job, settings), daemon=True).start()
    return run in MAILBOXES


def _work(run: str, space: "TemporaryDirectory[str]", mailbox: Mailbox, job: str, settings: str) -> None:
    """Run a job and send how it has ended as JSON: a `result`, an `error` that the user can mend, or a `bug`."""
    try:
        with space, mailbox:
            try:
                end = {"result": run_job(job, settings, mailbox)}
            except UserError as error:
                end = {"error": str(error)}
            except Unwanted:
                return
            except BaseException:  # noqa: BLE001  the owner has to hear of it
                end = {"bug": traceback.format_exc()[-MOST_TEXT:]}
            mailbox.send(END, "", BytesIO(json.dumps(end).encode()))
    except Unwanted:
        pass
    finally:
        del MAILBOXES[run]


def run_job(job: str, settings: str, mailbox: Mailbox) -> str:
    """Run a job to its end, and send its steps and models; its result as JSON. Raises `Unwanted`."""

    def report(step: Progress) -> None:
        mailbox.check_wanted()
        mailbox.say(step.phase, step.fraction or 0.0)

    own, journal = read(jobs[job], json.loads(settings), "the run"), mailbox.journal()
    own.check()
    result = finish(own.run(mailbox.folder, journal), report)
    for row in result.rows:
        if row.artifact is not None:
            with Path(row.artifact).open("rb") as content:
                mailbox.send(MODEL, row.name, content)
    return result.to_json()
