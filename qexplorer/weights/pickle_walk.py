"""Naming what an inert pickle tree holds: `state_dict.conv.weight` for a tensor that lies two dictionaries deep."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from qexplorer.progress import Progress, Steps
from qexplorer.text import printable
from qexplorer.weights import limits
from qexplorer.weights.checkpoint import FormatError
from qexplorer.weights.narrow import is_sequence, is_tuple
from qexplorer.weights.pickle_values import Call, Named, PairTable

_TABLES = {"collections.OrderedDict", "builtins.dict", "__builtin__.dict"}
_MODULE_PARTS = {"_parameters", "_buffers", "_modules"}
"""Where a pickled `torch.nn.Module` keeps its tensors; left out of their names, as `state_dict()` does."""

_STEP = 50_000
_MEND = "The file is damaged or was altered."
_Pair = tuple[str | int | float | None, Any]
"""A key and a value; without a key the value goes by the name of its container."""

Unwrap = Callable[[Call], tuple[Any, ...] | None]
"""What a call merely wraps, so that it has the same name; None for a call that is walked as a container."""


@dataclass
class Walk:
    """One pass over a tree, each container once, so that sharing and cycles cost nothing.

    `shared` pairs the name of a container that was met again with the name under which it was walked.
    """

    where: str
    is_leaf: Callable[[Call], bool]
    unwrap: Unwrap
    shared: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    _seen: dict[int, str] = field(default_factory=dict[int, str])
    _characters: int = 0
    _visits: int = 0

    def leaves(self, root: Any, name: str = "") -> Steps[list[tuple[str, Call]]]:
        """Every leaf with its name, in the pickle's order. Raises `FormatError` "TooDeep" or "TooLarge"."""
        found: list[tuple[str, Call]] = []
        pending: list[tuple[str, Iterator[_Pair]]] = [(name, iter([(None, root)]))]
        reported = self._visits
        while pending:
            if self._visits - reported >= _STEP:
                reported = self._visits
                yield Progress("Looking for tensors", len(found))
            prefix, children = pending[-1]
            pair = next(children, None)
            if pair is None:
                pending.pop()
                continue
            self._visit()
            key, value = pair
            if not _may_hold(value):
                continue
            own = prefix if key is None else f"{prefix}.{key}" if prefix else f"{key}"
            self._count(own)
            value = self._unwrapped(value)
            if isinstance(value, Call) and self.is_leaf(value):
                found.append((own, value))
                if len(found) > limits.TENSORS:
                    raise self._too_large(f"it has more than {limits.TENSORS:,} tensors")
            else:
                if len(pending) >= limits.PICKLE_DEPTH:
                    raise self._too_deep()
                pending.append((own, self._children(own, value)))
        return found

    def _unwrapped(self, value: Any) -> Any:
        """What a call that wraps a single thing wraps. Such a thing, met again, is listed again: it is tied."""
        for _ in range(limits.PICKLE_DEPTH):
            wrapped = self.unwrap(value) if isinstance(value, Call) else None
            if wrapped is None or len(wrapped) != 1:
                return value
            self._visit()
            (value,) = wrapped
        raise self._too_deep()

    def _children(self, name: str, value: Any) -> Iterator[_Pair]:
        if id(value) in self._seen:
            if len(self.shared) < limits.WARNINGS_SHOWN:
                self.shared.append((name, self._seen[id(value)]))
            return iter(())
        self._seen[id(value)] = name
        if not isinstance(value, Call):
            return _named(pairs_of(value))
        if (wrapped := self.unwrap(value)) is not None:
            return ((None, inner) for inner in wrapped)
        self._visit(_initial_size(value))
        return _call_children(value)

    def _visit(self, n: int = 1) -> None:
        self._visits += n
        if self._visits > limits.PICKLE_VISITS:
            raise self._too_large("its pickle refers to the same things too often")

    def _count(self, name: str) -> None:
        self._characters += len(name)
        if len(name) > limits.NAME_STORED or self._characters > limits.NAMES_TOGETHER:
            raise self._too_large(f"its tensor names are too long ({printable(name, 80)})")

    def _too_large(self, what: str) -> FormatError:
        return FormatError("TooLarge", self.where, f"{what}.", _MEND)

    def _too_deep(self) -> FormatError:
        return FormatError("TooDeep", self.where, f"its pickle is nested more than {limits.PICKLE_DEPTH} deep.", _MEND)


def pairs_of(value: Any) -> Iterable[tuple[Any, Any]]:
    """A container's content as pairs of key and value; a list's keys are its indices."""
    if is_sequence(value):
        return enumerate(value)
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, PairTable):
        pairs = value.pairs
    elif isinstance(value, Call):
        pairs = [*_initial_pairs(value), *(value.pairs or ())]
    return list({_key(pair, index): pair for index, pair in enumerate(pairs)}.values())


def _key(pair: tuple[Any, Any], index: int) -> Any:
    """What a later pair must share with this one to take its place: its text or number; others stand for themselves."""
    return pair[0] if isinstance(pair[0], str | int) else (index,)


def _initial_size(call: Call) -> int:
    """How many pairs a dictionary was made with, as protocol 0 and Python 2 write an `OrderedDict`."""
    is_made = isinstance(call.function, Named) and call.function.full_name in _TABLES
    arguments = call.arguments
    return len(arguments[0]) if is_made and is_tuple(arguments) and arguments and is_sequence(arguments[0]) else 0


def _initial_pairs(call: Call) -> list[tuple[Any, Any]]:
    """Those pairs."""
    if not _initial_size(call):
        return []
    return [(pair[0], pair[1]) for pair in call.arguments[0] if is_sequence(pair) and len(pair) == 2]


def _call_children(call: Call) -> Iterator[_Pair]:
    yield from _named(pairs_of(call))
    yield from _named(pairs_of(call.items))
    if not _initial_pairs(call):
        yield from _named(pairs_of(call.arguments))
    for key, value in _named(pairs_of(call.state)):
        yield (None if isinstance(key, str) and key in _MODULE_PARTS else key), value


def _named(pairs: Iterable[tuple[Any, Any]]) -> Iterator[_Pair]:
    for position, (key, value) in enumerate(pairs):
        yield key if isinstance(key, str | int | float) else position, value


def _may_hold(value: Any) -> bool:
    """Whether a tensor may lie in it; most of a pickle are plain values, which are passed over."""
    return isinstance(value, Call | PairTable) or (is_sequence(value) and bool(value))
