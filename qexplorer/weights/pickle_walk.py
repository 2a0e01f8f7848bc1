"""Naming what an inert pickle tree holds: `state_dict.conv.weight` for a tensor that lies two dictionaries deep."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from qexplorer.weights import limits
from qexplorer.weights.checkpoint import FormatError
from qexplorer.weights.narrow import is_sequence, is_tuple
from qexplorer.weights.pickle_values import Call, Named, PairTable
from qexplorer.weights.text import shown

_TABLES = {"collections.OrderedDict", "builtins.dict", "__builtin__.dict"}
_MODULE_PARTS = {"_parameters", "_buffers", "_modules"}
"""Where a pickled `torch.nn.Module` keeps its tensors; left out of their names, as `state_dict()` does."""

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

    def leaves(self, root: Any, name: str = "") -> Iterator[tuple[str, Call]]:
        """Every leaf with its name, in the pickle's order. Raises `FormatError` "TooDeep" or "TooLarge"."""
        pending: list[Iterator[tuple[str, Any]]] = [iter([(name, root)])]
        while pending:
            found = next(pending[-1], None)
            if found is None:
                pending.pop()
                continue
            if len(pending) > limits.PICKLE_DEPTH:
                what = f"its pickle is nested more than {limits.PICKLE_DEPTH} deep."
                raise FormatError("TooDeep", self.where, what, "The file is damaged or was altered.")
            name, value = found
            self._count(name)
            if isinstance(value, Call) and self.is_leaf(value):
                yield name, value
            else:
                pending.append(self._children(name, value))

    def _children(self, name: str, value: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Call) and (wrapped := self.unwrap(value)) is not None:
            return ((name, inner) for inner in wrapped if _may_hold(inner))
        if id(value) in self._seen:
            if len(self.shared) < limits.WARNINGS_SHOWN:
                self.shared.append((name, self._seen[id(value)]))
            return iter(())
        self._seen[id(value)] = name
        if isinstance(value, Call):
            return _call_children(name, value)
        return _named(name, pairs_of(value))

    def _count(self, name: str) -> None:
        self._characters += len(name)
        if len(name) > limits.NAME_STORED or self._characters > limits.NAMES_TOGETHER:
            raise FormatError("TooLarge", self.where, f"its tensor names are too long ({shown(name, 80)}).")


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


def _initial_pairs(call: Call) -> list[tuple[Any, Any]]:
    """The pairs with which a dictionary was made, as protocol 0 and Python 2 write an `OrderedDict`."""
    if not (isinstance(call.function, Named) and call.function.full_name in _TABLES):
        return []
    arguments = call.arguments
    if not (is_tuple(arguments) and arguments and is_sequence(arguments[0])):
        return []
    return [(pair[0], pair[1]) for pair in arguments[0] if is_sequence(pair) and len(pair) == 2]


def _call_children(name: str, call: Call) -> Iterator[tuple[str, Any]]:
    yield from _named(name, pairs_of(call))
    yield from _named(name, pairs_of(call.items))
    if not _initial_pairs(call):
        yield from _named(name, pairs_of(call.arguments))
    for key, value in pairs_of(call.state):
        if isinstance(key, str) and key in _MODULE_PARTS:
            yield name, value
        else:
            yield from _named(name, [(key, value)])


def _named(name: str, pairs: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, Any]]:
    prefix = f"{name}." if name else ""
    for position, (key, value) in enumerate(pairs):
        if _may_hold(value):
            yield f"{prefix}{key if isinstance(key, str | int | float) else position}", value


def _may_hold(value: Any) -> bool:
    """Whether a tensor may lie in it; most of a pickle are plain values, which are passed over."""
    return isinstance(value, Call | PairTable) or (is_sequence(value) and bool(value))
