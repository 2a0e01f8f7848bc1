"""A plugin is one file with one frozen dataclass: its fields are its settings.

A plugin's text form is its name, then its fields after a colon: `minmax`, `percentile:99.99`, `channel:0`. The same
text serves the command line, the session file and the run history.
"""

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any, ClassVar, Generic, TypeVar, cast, get_type_hints

from qexplorer.errors import UserError


class Plugin:
    """What every plugin has: a `name` for files and commands, a `title` for people, a line of `help`."""

    name: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str] = ""
    separator: ClassVar[str] = ","
    """What stands between settings in the text form."""

    @property
    def text(self) -> str:
        """The plugin and its settings as one word, e.g. `percentile:99.99`."""
        values = [getattr(self, f.name) for f in dataclasses.fields(self)]  # pyright: ignore[reportArgumentType]
        return self.name + (":" + self.separator.join(_write(v) for v in values) if values else "")


P = TypeVar("P", bound=Plugin)
Q = TypeVar("Q", bound=Plugin)


class Registry(Generic[P]):
    """The plugins of one room, by name, in the order in which they sort on screen."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, type[P]] = {}

    def register(self, cls: type[Q]) -> type[Q]:
        """Class decorator: make a plugin reachable under its name."""
        self._classes[cls.name] = cast("type[P]", cls)
        return cls

    def discover(self, package: str, path: list[str]) -> None:
        """Import every module of a package, so that each registers its plugin."""
        for module in sorted(m.name for m in pkgutil.iter_modules(path)):
            importlib.import_module(f"{package}.{module}")

    def __iter__(self) -> Iterator[type[P]]:
        return iter(sorted(self._classes.values(), key=lambda cls: getattr(cls, "order", 100)))

    def __getitem__(self, name: str) -> type[P]:
        return self._classes[name]

    def parse(self, text: str) -> P:
        """Build a plugin from its text form; a `UserError` names what was not understood and what there is."""
        name, _, rest = text.partition(":")
        if name not in self._classes:
            known = ", ".join(cls.name for cls in self)
            raise UserError(f"There is no {self.kind} “{name}”.", f"Known: {known}.", field=self.kind)
        cls = self._classes[name]
        fields = dataclasses.fields(cls)  # pyright: ignore[reportArgumentType]
        words = rest.split(cls.separator) if rest else []
        if len(words) > len(fields):
            raise UserError(f"“{text}” has more settings than {name} takes.", field=self.kind)
        hints = get_type_hints(cls)
        settings = {f.name: _read(word, hints[f.name], text) for f, word in zip(fields, words, strict=False)}
        missing = [f.name for f in fields if f.name not in settings and f.default is dataclasses.MISSING]
        if missing:
            raise UserError(f"“{text}” lacks {missing[0]}.", f"Write {name}:{missing[0].upper()}.", field=self.kind)
        return cls(**settings)


def _write(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _read(word: str, kind: Any, text: str) -> Any:
    try:
        return kind(word)
    except (TypeError, ValueError):
        wanted = {int: "a whole number", float: "a number"}.get(kind, str(kind))
        raise UserError(f"“{word}” in “{text}” is not {wanted}.") from None
