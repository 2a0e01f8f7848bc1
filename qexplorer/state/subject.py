"""What jobs work on: the open file, with the model and the data that were chosen for it."""

from dataclasses import dataclass, replace
from pathlib import Path

from qexplorer.engine.jobs import Job
from qexplorer.engine.jobs.model_job import ModelJob
from qexplorer.errors import UserError
from qexplorer.settings import setting
from qexplorer.weights import is_synthetic

REMEMBERED = 50
"""The choices for so many files are kept."""


@dataclass(frozen=True)
class Subject:
    """What was chosen for a file: the `model` that it is the weights of, empty for the one that is known by its
    tensors, and the `data`.
    """

    path: str = setting("", "file")
    model: str = setting("", "model")
    data: str = setting("", "data")


def subject_of(path: str, known: tuple[Subject, ...]) -> Subject:
    """What was chosen for a file before."""
    return next((each for each in known if each.path == path), Subject(path))


def on_subject(job: Job, subject: Subject) -> Job:
    """The job on the open file, where no other model is chosen. Raises `UserError` where there is none."""
    if not isinstance(job, ModelJob) or job.model:
        return job
    if not subject.path or is_synthetic(subject.path):
        what = "Synthetic values belong to no model." if subject.path else "No file is open."
        raise UserError(what, "Open a file of weights, or choose a model.", field="model")
    if subject.model:
        return replace(job, model=subject.model, weights=job.weights or subject.path)
    return replace(job, model=subject.path)


def remembered(job: Job, path: str, known: tuple[Subject, ...]) -> tuple[Subject, ...]:
    """The choices with those of a job that is started while a file is open, the latest first."""
    if not isinstance(job, ModelJob) or not path or is_synthetic(path):
        return known
    if job.model and not (job.weights and Path(job.weights).expanduser() == Path(path)):
        return known  # it is on something else
    model = job.model or subject_of(path, known).model
    return (Subject(path, model, job.data), *(each for each in known if each.path != path))[:REMEMBERED]
