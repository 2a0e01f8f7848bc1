"""What a worker does: run one job, report its progress, and send what it has finished."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from qexplorer.cluster.artifact import MODEL, Artifact
from qexplorer.cluster.mailbox import Mailbox, Unwanted
from qexplorer.cluster.messages import Message, Offered, Started, Stepped
from qexplorer.cluster.versions import require_versions, versions
from qexplorer.engine.jobs import jobs
from qexplorer.engine.runs.process import host_name
from qexplorer.errors import UserError
from qexplorer.progress import Progress, finish
from qexplorer.settings import read

ONE_AT_A_TIME = threading.Lock()
"""Threads, engine and random numbers are torch's for the whole process, so runs cannot share one."""
EVERY_S = 0.5
STOPPED = ("closing", "closed", "failed")


def run_on_worker(job: str, settings_json: str, wanted: Mapping[str, str], topic: str, key: str) -> str:
    """Run a job on this worker. Returns JSON: `result`, or `error` for what the user can fix.

    "" where nobody wants it any more. Messages under `topic` say when it starts, how far it is, and what it offers:
    every finished step, and at the end the files of the models. It keeps no file.
    """
    from distributed import get_worker

    worker = get_worker()
    task, own = str(worker.get_current_task()), (key, worker.address)

    def send(message: Message) -> None:
        worker.log_event(topic, message.to_event())

    def offer(artifact: Artifact) -> None:
        send(Offered(*own, artifact))

    def is_wanted() -> bool:
        state = worker.state.tasks.get(task)
        return state is not None and state.state == "executing" and worker.status.name not in STOPPED

    with (
        ONE_AT_A_TIME,
        TemporaryDirectory(prefix="run-", dir=worker.local_directory, ignore_cleanup_errors=True) as folder,
        Mailbox(task, Path(folder), offer, is_wanted) as mailbox,
    ):
        if not is_wanted():
            return ""
        send(Started(*own, host_name()))
        try:
            require_versions(worker.address, versions(), wanted)
            return json.dumps({"result": _run(job, settings_json, mailbox, lambda *step: send(Stepped(*own, *step)))})
        except UserError as error:
            return json.dumps({"error": str(error)})
        except Unwanted:
            return ""


def _run(job: str, settings_json: str, mailbox: Mailbox, send: Callable[[str, float], None]) -> str:
    sent = time.monotonic()

    def report(step: Progress) -> None:
        nonlocal sent
        mailbox.check_wanted()
        if time.monotonic() - sent >= EVERY_S:
            sent = time.monotonic()
            send(step.phase, step.fraction or 0.0)

    own, journal = read(jobs[job], json.loads(settings_json), "the run"), mailbox.journal()
    own.check()
    result = finish(own.run(mailbox.folder, journal), report)
    for row in result.rows:
        if row.artifact is not None:
            with Path(row.artifact).open("rb") as content:
                mailbox.send(MODEL, row.name, content)
    return result.to_json()
