"""Options of a command, and their help, from the settings that they stand for."""

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from qexplorer.errors import UserError
from qexplorer.settings import Setting


class Group(Protocol):
    """A parser, or a group of its options."""

    def add_argument(self, *names: str, **how: Any) -> Any:
        """As in argparse."""


def add_options(group: Group, settings: Iterable[Setting], defaults: Mapping[str, Any] | None = None) -> None:
    """Add an option for each setting; one that is left out is `None`. `defaults` stand for those of the settings."""
    for each in settings:
        kind = _number(each) if each.kind in (int, float) else str
        default = each.default if defaults is None else defaults[each.name]
        text = f"{each.help}{_known(each)}; default {_written(each, default)}"
        group.add_argument(f"--{each.name.replace('_', '-')}", type=kind, help=text.replace("%", "%%"))


def given(args: argparse.Namespace, settings: Iterable[Setting]) -> dict[str, Any]:
    """What the person wrote, by the names of the settings."""
    values = {each.name: getattr(args, each.name) for each in settings}
    return {name: value for name, value in values.items() if value is not None}


def _known(each: Setting) -> str:
    """The values that there are, or some where there are many."""
    if each.registry is not None:
        known = [*each.offers, "…"] if each.offers else each.registry.texts
    else:
        known = [value or "“”" for value in each.values]
    return f" ({', '.join(known)})" if known else ""


def _written(each: Setting, default: Any) -> str:
    if not default and each.empty:
        return each.empty
    return f"{default} {each.unit}".rstrip() or "none"


def _number(each: Setting) -> Callable[[str], Any]:
    def number(word: str) -> Any:
        try:
            return each.parse(word)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return number
