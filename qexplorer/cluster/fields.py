"""What a study's file says of a job's fields, checked against the job itself."""

import dataclasses
import difflib
import math
from typing import Any, get_type_hints

from qexplorer.engine.jobs import Job, jobs
from qexplorer.errors import UserError
from qexplorer.text import printable

KINDS = {str: "a text in quotes", int: "a whole number", float: "a number", bool: "true or false"}


def known_jobs(document: dict[str, Any], name: str) -> list[type[Job]]:
    """The jobs that the file called `name` asks for: one, or a list. Raises `UserError` with those that there are."""
    known = {job.name: job for job in jobs}
    asked = document.get("job")
    words: Any = [asked] if isinstance(asked, str) else asked
    remedy = f"Jobs: {', '.join(known)}."
    if not isinstance(words, list) or not words:
        raise UserError(f"{name} names no job.", f'Write job = "{next(iter(known))}", or a list. {remedy}', field="job")
    for word in words:
        if not isinstance(word, str) or word not in known:
            raise UserError(f"{name}: there is no job “{_brief(word)}”.", remedy, field="job")
    if len(set(words)) < len(words):
        raise UserError(f"{name}: job lists one job twice.", "Leave one out.", field="job")
    return [known[word] for word in words]


def checked_fields(document: dict[str, Any], part: str, classes: list[type[Job]], name: str) -> dict[str, Any]:
    """The table `part` of the file, each value of the type that every one of the jobs wants; a list of them in `grid`.

    Raises `UserError` for a key that one of the jobs lacks, and for a value of another type.
    """
    table = document.get(part, {})
    if not isinstance(table, dict):
        raise UserError(f"{name}: {part} is no table.", f"Write [{part}] and below it one line a field.", field=part)
    checked: dict[str, Any] = {}
    for key, value in table.items():
        where = f"{name}: {part}.{printable(key, 80)}"
        for cls in classes:
            kind = _kind(cls, key, where)
            checked[key] = _list(kind, value, where, key) if part == "grid" else _value(kind, value, where, key)
    return checked


def _kind(cls: type[Job], key: str, where: str) -> Any:
    """The type of a job's field."""
    names = [f.name for f in dataclasses.fields(cls)]
    if key in names:
        return get_type_hints(cls)[key]
    close = difflib.get_close_matches(key, names, 1)
    meant = f"Did you mean {close[0]}? " if close else ""
    raise UserError(f"{where} is no setting of the job {cls.name}.", f"{meant}Its settings: {', '.join(names)}.",
                    field=key)  # fmt: skip


def _list(kind: Any, values: Any, where: str, key: str) -> list[Any]:
    if not isinstance(values, list):
        raise UserError(f"{where} is no list.", "Write [ … ] around its values, or move it to [settings].", field=key)
    return [_value(kind, value, where, key) for value in values]


def _value(kind: Any, value: Any, where: str, key: str) -> Any:
    if kind is float and type(value) is int:
        value = float(value)
    if kind in KINDS and (type(value) is not kind or (kind is float and not math.isfinite(value))):
        raise UserError(f"{where} cannot be “{_brief(value)}”.", f"It is {KINDS[kind]}.", field=key)
    return value


def _brief(value: Any) -> str:
    return printable(str(value), 80)
