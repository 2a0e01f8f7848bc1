"""Shapes as files state them: checked in Python's unbounded integers before anything is made of them."""

from typing import Any

from qexplorer.text import printable
from qexplorer.weights import limits
from qexplorer.weights.checkpoint import FormatError
from qexplorer.weights.narrow import is_count, is_sequence


def checked_shape(shape: Any, where: str, name: str) -> tuple[int, ...]:
    """The shape as a tuple; `FormatError` "BadShape" unless it is a list of sizes within the limits."""
    if not is_sequence(shape):
        raise _bad(where, name, "is not a list of sizes")
    if len(shape) > limits.RANK:
        raise _bad(where, name, f"has {len(shape):,} dimensions; {limits.RANK} are the most")
    elements = 1
    for n in shape:
        if not is_count(n):
            raise _bad(where, name, "has a size that is not a whole number")
        if n >= limits.DIMENSION:
            raise _bad(where, name, "has a size beyond 2^48")
        elements *= n or 1  # numpy multiplies the sizes beside a 0, too
    if elements >= limits.ELEMENTS:
        raise _bad(where, name, "has more than 2^56 elements")
    return tuple(shape)


def _bad(where: str, name: str, what: str) -> FormatError:
    return FormatError(
        "BadShape", where, f"the shape of “{printable(name)}” {what}.", "The file is damaged or was altered."
    )
