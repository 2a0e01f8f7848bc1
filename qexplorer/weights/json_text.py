"""JSON from a file, read strictly: no duplicate keys, no NaN, no depth without end."""

import json
from typing import Any

from qexplorer.weights.checkpoint import FormatError
from qexplorer.weights.narrow import is_table
from qexplorer.weights.text import shown


class _DuplicateError(ValueError):
    pass


def parse_object(data: bytes, where: str, kind: str, what: str) -> dict[str, Any]:
    """The JSON object in `data`, called `what`. Raises `FormatError`: "Duplicate" for a key twice, else `kind`."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except _DuplicateError as error:
        raise FormatError("Duplicate", where, f"{what} has the key “{error}” twice.") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else shown(str(error), 120)
        raise FormatError(kind, where, f"{what} is not valid JSON ({reason}).") from None
    if not is_table(value):
        raise FormatError(kind, where, f"{what} is not a JSON object.")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise _DuplicateError(shown(twice, 80))
    return table


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number")
