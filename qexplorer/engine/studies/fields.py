"""What a study's file says of a job's settings, read as the job itself describes them."""

from typing import Any

from qexplorer.engine.jobs import Job, jobs
from qexplorer.errors import UserError
from qexplorer.settings import Setting, require_known, schema
from qexplorer.text import printable


def known_jobs(document: dict[str, Any], name: str) -> list[type[Job]]:
    """The jobs that the file called `name` asks for: one, or a list. Raises `UserError` with those that there are."""
    asked = document.get("job")
    words: Any = [asked] if isinstance(asked, str) else asked
    if not isinstance(words, list) or not words:
        known = [job.name for job in jobs]
        remedy = f'Write job = "{known[0]}", or a list. Known: {", ".join(known)}.'
        raise UserError(f"{name} names no job.", remedy, field="job")
    found: list[type[Job]] = []
    for word in words:
        try:
            found.append(jobs.named(str(word)))
        except UserError as error:
            what = f"{name}: there is no job “{printable(str(word), 80)}”."
            raise UserError(what, error.remedy, field="job") from error
    if len(set(found)) < len(found):
        raise UserError(f"{name}: job lists one job twice.", "Leave one out.", field="job")
    return found


def checked_fields(document: dict[str, Any], part: str, classes: list[type[Job]], name: str) -> dict[str, Any]:
    """The table `part` of the file, each value of the type that every one of the jobs wants; a list of them in `grid`.

    Raises `UserError` for a key that one of the jobs lacks, and for a value of another type.
    """
    table = document.get(part, {})
    if not isinstance(table, dict):
        raise UserError(f"{name}: {part} is not a table.", f"Write [{part}] and below it one line a field.", field=part)
    checked: dict[str, Any] = {}
    for cls in classes:
        known = {each.name: each for each in schema(cls)}
        for key, value in table.items():
            require_known(key, known, f"{name}: {part}: the job {cls.name}")
            where = f"{name}: {part}.{printable(key, 80)}"
            checked[key] = _list(known[key], value, where) if part == "grid" else known[key].read(value, where)
    return checked


def _list(each: Setting, values: Any, where: str) -> list[Any]:
    if not isinstance(values, list):
        remedy = "Write [ … ] around its values, or move it to [settings]."
        raise UserError(f"{where} is not a list.", remedy, field=each.name)
    return [each.read(value, where) for value in values]
