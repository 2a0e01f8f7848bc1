"""The field that filters tensors, and what may be written into it."""

import re
from collections.abc import Callable, Container
from fnmatch import fnmatch
from typing import Protocol, TypeVar

from PySide6.QtWidgets import QWidget

from qexplorer.quant.flags import Flags
from qexplorer.widgets.controls import Field

NO_MATCH = ("Nothing matches", "Words must be part of the name; >10k, <1M and sqnr<15 compare; is:bias, is:flagged.")
"""What stands where a table or tree is empty because of its filter."""
COMPARED = re.compile(r"(sqnr)?([<>])=?(-?\d+(?:\.\d+)?)([km])?")
UNITS = {"k": 1e3, "m": 1e6, None: 1.0}


class Described(Protocol):
    """A tensor as a filter sees it; `shown` is its name made safe for the screen."""

    @property
    def shown(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def n(self) -> int: ...


T = TypeVar("T", bound=Described)


def fitting(text: str, sqnr_db: Callable[[T], float | None], marks: Callable[[T], Container[str]],
            ) -> Callable[[T], bool] | None:  # fmt: skip
    """Whether a tensor fits every word of the text, as a test; `None` without a word.

    Words must be part of the name or type, `*` stands for anything; `>1M`, `<10k` compare the number of values,
    `sqnr<15` the SQNR, which a tensor has to have for that; `is:nan` asks for one of its `marks`.
    """
    tests = [_test(word, sqnr_db, marks) for word in text.lower().split()]
    return (lambda tensor: all(test(tensor) for test in tests)) if tests else None


def marks_of(role: str, flags: Flags, *, weighs: bool) -> frozenset[str]:
    """What can be asked of a tensor with `is:`: its role, its flags, whether it has any, and whether it is a weight."""
    return frozenset({role, *flags.names, *(["flagged"] if flags.names else []), *([] if weighs else ["other"])})


def _test(word: str, sqnr_db: Callable[[T], float | None], marks: Callable[[T], Container[str]],
          ) -> Callable[[T], bool]:  # fmt: skip
    match = COMPARED.fullmatch(word)
    if match:
        bound, of_sqnr, above = float(match[3]) * UNITS[match[4]], bool(match[1]), match[2] == ">"

        def compare(tensor: T) -> bool:
            value = sqnr_db(tensor) if of_sqnr else tensor.n
            return value is not None and (value >= bound if above else value <= bound)

        return compare
    if word.startswith("is:"):
        return lambda tensor: word[3:] in marks(tensor)
    if "*" in word:
        return lambda tensor: fnmatch(tensor.shown.lower(), word)
    return lambda tensor: word in tensor.shown.lower() or word in tensor.dtype


class FilterField(Field):
    """A line of text with a button that clears it; `sqnr` says which SQNR it compares."""

    def __init__(self, name: str, sqnr: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText("Filter: conv, >1M, sqnr<15, is:weight")
        self.setClearButtonEnabled(True)
        self.setAccessibleName(name)
        self.setToolTip(
            f"Words of the name; >1M or <10k compare the number of values, sqnr<15 {sqnr}; is:weight, is:bias, "
            "is:statistic … ask for a role, is:other for all that is no weight, is:flagged, is:nan … for odd values"
        )
