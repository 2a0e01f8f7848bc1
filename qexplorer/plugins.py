"""A plugin is one file with one frozen dataclass: its fields are its settings.

A plugin's text form is its name, then its settings after a colon: `minmax`, `percentile:99.99`, `channel:0`. The same
text serves the command line, the session file and the run history.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

from qexplorer.errors import UserError
from qexplorer.settings import check, meant, read, schema, write
from qexplorer.text import printable


@dataclass(frozen=True)
class Plugin:
    """What every plugin has: a `name` for files and commands, a `title` for people, a line of `help`.

    Its fields are made by `settings.setting`; one that is out of bounds is a `UserError` that names it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str] = ""
    order: ClassVar[int] = 100
    """Where it stands among others on screen."""
    separator: ClassVar[str] = ","
    """What stands between settings in the text form."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def text(self) -> str:
        """The plugin and its settings as one word, e.g. `percentile:99.99`."""
        values = [getattr(self, each.name) for each in schema(type(self))]
        return self.name + (":" + self.separator.join(_write(v) for v in values) if values else "")


class Named(Protocol):
    """What is registered by its name."""

    name: ClassVar[str]
    order: ClassVar[int]


C = TypeVar("C", bound=Named)
D = TypeVar("D", bound=Named)
P = TypeVar("P", bound=Plugin)


class Classes(Generic[C]):
    """The classes of one room, by name, in the order in which they stand on screen."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, type[C]] = {}

    def register(self, cls: type[D]) -> type[D]:
        """Class decorator: make a class reachable under its name. Raises `ValueError` where another one has it."""
        other = self._classes.setdefault(cls.name, cast("type[C]", cls))
        if cast("Any", other) is not cls:
            names = " and ".join(f"{each.__module__}.{each.__qualname__}" for each in (other, cls))
            raise ValueError(f"Two plugins are called {self.kind} “{cls.name}”: {names}.")
        return cls

    def discover(self, package: str, path: list[str]) -> None:
        """Import every module of a package, so that each registers its class."""
        for module in sorted(m.name for m in pkgutil.iter_modules(path)):
            importlib.import_module(f"{package}.{module}")

    def __iter__(self) -> Iterator[type[C]]:
        return iter(sorted(self._classes.values(), key=lambda cls: cls.order))

    def __contains__(self, name: object) -> bool:
        return name in self._classes

    def __getitem__(self, name: str) -> type[C]:
        return self._classes[name]


class Registry(Classes[P]):
    """The plugins of one room, which can be read from their text form."""

    def named(self, name: str) -> type[P]:
        """The plugin of that name; a `UserError` says which ones there are."""
        if name not in self._classes:
            known = [cls.name for cls in self]
            raise UserError(f"There is no {self.kind} “{printable(name, 80)}”.",
                            f"{meant(name, known)}Known: {', '.join(known)}.", field=self.kind)  # fmt: skip
        return self._classes[name]

    def read(self, value: Any) -> P:
        """A plugin from its text form, or from a mapping of `name` and settings. Raises `UserError`."""
        if not isinstance(value, dict):
            return self.parse(str(value))
        settings = {str(key): each for key, each in cast("dict[Any, Any]", value).items()}
        cls = self.named(str(settings.pop("name", "")))
        return read(cls, settings, f"the {self.kind} {cls.name}", strict=True)

    def write(self, plugin: P) -> dict[str, Any]:
        """The name and the settings of a plugin: the inverse of `read`."""
        return {"name": plugin.name, **write(plugin)}

    def parse(self, text: str) -> P:
        """Build a plugin from its text form; a `UserError` names what was not understood and what there is."""
        name, _, rest = text.partition(":")
        cls = self.named(name)
        words, settings = rest.split(cls.separator) if rest else [], schema(cls)
        if len(words) > len(settings):
            raise UserError(f"“{text}” has more settings than {name} takes.", field=self.kind)
        try:
            own = {each.name: each.parse(word) for each, word in zip(settings, words, strict=False)}
            missing = [each.name for each in settings if each.name not in own and each.required]
            if missing:
                raise UserError(f"It lacks {missing[0]}.", f"Write {name}:{missing[0].upper()}.")
            return cls(**own)
        except UserError as error:
            raise UserError(f"“{text}” is not possible. {error.what}", error.remedy, field=self.kind) from error


def _write(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
