"""`Study`: the runs that a TOML file asks for, all of them valid before the first one starts."""

import hashlib
import itertools
import json
import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from qexplorer.engine.jobs import Job
from qexplorer.engine.studies.fields import checked_fields, known_jobs
from qexplorer.errors import UserError
from qexplorer.text import elide, printable

KEYS = ("title", "job", "settings", "grid")
MOST_RUNS = 10_000
MOST_BYTES = 1 << 20
LABEL = 80


@dataclass(frozen=True)
class StudyRun:
    """One run of a study. `number` counts from 1; `settings` are those of the grid, and the job where it has several.

    `key` follows from the job and all that the file says of it, so it is the same each time the file is read.
    """

    number: int
    key: str
    job: Job
    settings: dict[str, Any]

    @property
    def label(self) -> str:
        """The job and the settings in a few words, such as “weight-only vit_digits int4 channel:0 seed 1”."""
        own = {name: value for name, value in self.settings.items() if name != "job"}
        words = [str(value) if isinstance(value, str) else f"{name} {value}" for name, value in own.items()]
        return elide(printable(" ".join([self.job.name, *words])), LABEL)


@dataclass(frozen=True)
class Study:
    """A title and the runs, the last entry of the grid changing fastest."""

    title: str
    runs: tuple[StudyRun, ...] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The study in a TOML file. Raises `UserError` naming the file and the key at fault, and what there is."""
        try:
            size = path.stat().st_size
            if size > MOST_BYTES:
                raise UserError(f"{printable(str(path))} has {size:,} bytes.", f"A study has at most {MOST_BYTES:,}.")
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            what = f"{printable(str(path))} cannot be read: {error.strerror}."
            raise UserError(what, "Give the TOML file of a study.") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{printable(str(path))} is not UTF-8 text.", "Give the TOML file of a study.") from error
        return cls.parse(text, path.name)

    @classmethod
    def parse(cls, text: str, name: str = "study.toml") -> Self:
        """The study in a text; `name` is what errors call it."""
        name = printable(name, LABEL)
        document = _document(text, name)
        title = document.get("title", name.removesuffix(".toml"))
        if not isinstance(title, str):
            raise UserError(f"{name}: title is not a text.", field="title")
        classes = known_jobs(document, name)
        settings = checked_fields(document, "settings", classes, name)
        grid = checked_fields(document, "grid", classes, name)
        _check_grid(settings, grid, len(classes), name)
        return cls(title, tuple(_runs(classes, settings, grid, name)))


def _document(text: str, name: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(
            f"{name} is not valid TOML: {printable(str(error))}.", "`qexplorer study --help` shows a file."
        ) from error
    for key in document:
        if key not in KEYS:
            what = f"{name} has no key “{printable(key, LABEL)}”."
            remedy = f"Its keys: {', '.join(KEYS)}; settings of the job belong under [settings]."
            raise UserError(what, remedy, field=key)
    return document


def _check_grid(settings: dict[str, Any], grid: dict[str, list[Any]], jobs_n: int, name: str) -> None:
    for key, values in grid.items():
        if key in settings:
            raise UserError(f"{name}: {key} is under both [settings] and [grid].", "Remove one.", field=key)
        if not values:
            raise UserError(f"{name}: grid.{key} is empty.", "List at least one value.", field=key)
        twice = next((value for i, value in enumerate(values) if value in values[:i]), None)
        if twice is not None:
            what = f"{name}: grid.{key} lists “{printable(str(twice), LABEL)}” twice."
            raise UserError(what, "Remove one.", field=key)
    n = jobs_n * math.prod(map(len, grid.values()))
    if n > MOST_RUNS:
        raise UserError(f"{name} asks for {n:,} runs.", f"A study has at most {MOST_RUNS:,}.", field="grid")


def _runs(classes: list[type[Job]], settings: dict[str, Any], grid: dict[str, list[Any]], name: str) -> list[StudyRun]:
    runs: list[StudyRun] = []
    for cls, values in itertools.product(classes, itertools.product(*grid.values())):
        own = dict(zip(grid, values, strict=True))
        job = _job(cls, {**settings, **own}, grid, name)
        different = {"job": cls.name, **own} if len(classes) > 1 else own
        runs.append(StudyRun(len(runs) + 1, _key(cls.name, {**settings, **own}), job, different))
    return runs


def _job(cls: type[Job], settings: dict[str, Any], grid: dict[str, list[Any]], name: str) -> Job:
    try:
        return cls(**settings)
    except UserError as error:
        where = "grid" if error.field in grid else "settings"
        at_fault = f"{where}.{error.field}: " if error.field in settings else ""
        raise UserError(f"{name}: {at_fault}{error.what}", error.remedy, field=error.field) from error


def _key(job: str, settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([job, settings], sort_keys=True, default=str).encode()).hexdigest()[:16]
