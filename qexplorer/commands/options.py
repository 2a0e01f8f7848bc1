"""Options of a command, and their help, from the settings that they stand for."""

import argparse
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from qexplorer.errors import UserError
from qexplorer.settings import Setting


class Group(Protocol):
    """A parser, or a group of its options."""

    def add_argument(self, *names: str, **how: Any) -> Any:
        """As in argparse."""


def add_options(group: Group, settings: Iterable[Setting]) -> None:
    """Add an option for each setting; one that is left out is `None`."""
    for each in settings:
        kind = _number(each) if each.kind in (int, float) else str
        group.add_argument(f"--{each.name.replace('_', '-')}", type=kind, help=_help(each).replace("%", "%%"))


def given(args: argparse.Namespace, settings: Iterable[Setting]) -> dict[str, Any]:
    """What the person wrote, by the names of the settings."""
    values = {each.name: getattr(args, each.name) for each in settings}
    return {name: value for name, value in values.items() if value is not None}


def _help(each: Setting) -> str:
    known = f" ({', '.join(value or '“”' for value in each.values)})" if each.choices else ""
    default = each.empty if each.empty and not each.default else getattr(each.default, "text", each.default)
    unit = f" {each.unit}" if each.unit else ""
    return f"{each.help}{known}; default {default if default != '' else 'none'}{unit}"


def _number(each: Setting) -> Callable[[str], Any]:
    def number(word: str) -> Any:
        try:
            return each.parse(word)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return number
