"""A job, written into the run history as it happens."""

import dataclasses
import json
import os
import threading
from contextlib import suppress

from qexplorer.engine.jobs import Job, jobs
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import RunResult
from qexplorer.engine.runs.run import Run
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, mapped
from qexplorer.settings import write


def recorded(job: Job, history: History, run_id: str = "") -> Steps[RunResult]:
    """Run `job` with its files in the history's folder; the result is committed before it is returned.

    The history says running from the first step on, and in the end done, failed with the error, or cancelled. A run
    that is not done keeps its finished steps, with which `resumed` goes on; one that could not have begun leaves
    nothing.
    """
    job = job.settled(history)
    job.check()
    run_id = history.start(job.name, write(job), run_id)
    return (yield from _course(job, history, run_id))


def resumed(run_id: str, history: History) -> Steps[RunResult]:
    """Go on with a run that was interrupted, was cancelled or failed, from its last finished step."""
    job = job_of(history.get(run_id))
    job.check()
    history.resume(run_id)
    return (yield from _course(job, history, run_id))


def job_of(run: Run) -> Job:
    """The job that a run was started with. Raises `UserError` where this version has no such job."""
    try:
        return jobs.read({**json.loads(run.config_json), "name": run.job})
    except (UserError, ValueError, TypeError) as error:  # from json, or from a document that is not a table
        what = f"The run “{run.run_id}” was started by another version of this program. {error}"
        raise UserError(what, "Start it anew.", field="run_id") from error


@dataclasses.dataclass(eq=False)
class _Course:
    """A run on its way in this process, on one thread. Once it is `let_go` nothing that its code does is entered."""

    history: History
    run_id: str
    process: int = dataclasses.field(default_factory=os.getpid)
    let_go: bool = False

    def require_parent(self, step: Progress) -> Progress:
        """The step; what a model's code has forked ends here: the run goes on in the process that began it."""
        self.end_if_forked()
        return step

    def end_if_forked(self) -> None:
        """End the process where it is a copy that a model's code has made."""
        if os.getpid() != self.process:
            os._exit(1)


_courses: dict[int, _Course] = {}
"""Those of this process by the number of their thread."""


def let_go(thread: int, *, interrupted: bool = False) -> bool:
    """Enter the run that a thread is in the middle of as cancelled or `interrupted`: its code does not come back.

    Whatever it still does is not entered. Returns whether the thread is in the middle of one.
    """
    course = _courses.get(thread)
    if course is None:
        return False
    course.let_go = True
    with suppress(UserError):
        (course.history.interrupt if interrupted else course.history.cancel)(course.run_id)
        clean(course.history, course.run_id, done=False)
    return True


def _course(job: Job, history: History, run_id: str) -> Steps[RunResult]:
    folder, journal = history.folder(run_id), history.journal(run_id)
    course, thread, done = _Course(history, run_id), threading.get_ident(), False
    _courses[thread] = course
    try:
        job.begin(history, journal)
        result = yield from mapped(job.run(folder, journal), course.require_parent)
        course.end_if_forked()
        result = dataclasses.replace(result, run_id=run_id)
        if not course.let_go:
            history.finish(run_id, result.to_json())
        done = True
    except (GeneratorExit, KeyboardInterrupt):
        course.end_if_forked()
        if not course.let_go:
            with suppress(Exception):
                history.cancel(run_id)
        raise
    except BaseException as error:
        course.end_if_forked()
        said = _for_the_person(error)
        if not course.let_go:
            with suppress(Exception):  # what went wrong first is what the person has to hear of
                history.fail(run_id, str(said) or type(said).__name__)
        if said is error:
            raise
        raise said from None
    finally:
        if _courses.get(thread) is course:
            del _courses[thread]
        if not course.let_go:
            clean(history, run_id, done=done)
    return result


def _for_the_person(error: BaseException) -> BaseException:
    """The error itself, or a `UserError` in its place where the fault is not in this program."""
    match error:
        case SystemExit():
            what = f"The model's own code ended the program with sys.exit({error.code!r})."
            return UserError(what, "Take that call out of its code.", field="model")
        case MemoryError():
            what = f"Not enough memory: {error}." if str(error) else "Not enough memory for this job."
            return UserError(what, "Use fewer samples or a smaller model, or close other programs.")
        case _:
            return error


def clean(history: History, run_id: str, *, done: bool) -> None:
    """Of a run that is done its steps are not needed any more, of another one nothing else is."""
    if done:
        with suppress(UserError):  # they only take room
            history.forget_steps(run_id)
    else:
        with suppress(OSError):  # what went wrong first is what the person has to hear of
            history.tidy(run_id)
    with suppress(OSError):
        history.folder(run_id).rmdir()  # only where it is empty: a job may have kept no files
