"""JSON from a file, read strictly: no duplicate keys, no NaN, no depth and no number of values without end."""

import json
from typing import Any

from qexplorer.text import printable
from qexplorer.weights import limits
from qexplorer.weights.checkpoint import FormatError
from qexplorer.weights.narrow import is_table


class _DuplicateError(ValueError):
    pass


def parse_object(data: bytes, where: str, kind: str, what: str) -> dict[str, Any]:
    """The JSON object in `data`, called `what`.

    Raises `FormatError`: "Duplicate" for a key twice, "TooLarge" for more values than any model has, else `kind`.
    """
    if _holds_too_much(data):
        raise FormatError("TooLarge", where, f"{what} holds more values than any model has.")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except _DuplicateError as error:
        raise FormatError("Duplicate", where, f"{what} has the key “{error}” twice.") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else printable(str(error), 120)
        raise FormatError(kind, where, f"{what} is not valid JSON ({reason}).") from None
    if not is_table(value):
        raise FormatError(kind, where, f"{what} is not a JSON object.")
    return value


def as_text(value: Any) -> str:
    """A value out of JSON as its text; a text is itself."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value)
    except RecursionError:  # as deep as it could just be read
        return "(nested too deeply)"


def _holds_too_much(data: bytes) -> bool:
    """Whether there are more values than the entries of a model need, judged by the brackets and commas alone.

    `[[],[],…]` takes 3 bytes a list in the file and 80 in memory, so it must be known before anything is made of it.
    """
    tables = data.count(b"{")
    lists, keys, values = data.count(b"["), data.count(b":"), data.count(b",")
    most = (2 * tables, 4 * tables, (limits.RANK + 6) * tables)
    return (
        tables > limits.JSON_TABLES
        or values > limits.JSON_COMMAS
        or any(n > limits.JSON_SLACK + own for n, own in zip((lists, keys, values), most, strict=True))
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise _DuplicateError(printable(twice, 80))
    return table


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number")
