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
    dropped: ClassVar[tuple[str, ...]] = ()
    """Settings that earlier versions had; where they are stored they are left out."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def text(self) -> str:
        """The plugin and its settings as one word, e.g. `percentile:99.99`; empty ones at its end are left out."""
        words = [_write(getattr(self, each.name)) for each in schema(type(self))]
        while words and not words[-1]:
            words.pop()
        return self.name + (":" + self.separator.join(words) if words else "")


class Named(Protocol):
    """What is registered by its name: a class, or an instance that is ready for use."""

    @property
    def name(self) -> str:
        """What files and commands call it."""
        ...

    @property
    def order(self) -> int:
        """Where it stands among others on screen."""
        ...


class NamedClass(Protocol):
    """The same of a class."""

    name: ClassVar[str]
    order: ClassVar[int]


N = TypeVar("N", bound=Named)
C = TypeVar("C", bound=NamedClass)
D = TypeVar("D", bound=NamedClass)
P = TypeVar("P", bound=Plugin)


class Names(Generic[N]):
    """What there is in one room, by name, in the order in which it stands on screen."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.field = kind.replace(" ", "_")
        self._known: dict[str, N] = {}

    def add(self, entry: N) -> None:
        """Make an entry reachable under its name. Raises `ValueError` where another one has it."""
        if self._known.setdefault(entry.name, entry) is not entry:
            raise ValueError(f"Two plugins are called {self.kind} “{entry.name}”: {self._known[entry.name]}, {entry}.")

    def discover(self, package: str, path: list[str]) -> None:
        """Import every module of a package, so that each registers what it has."""
        for module in sorted(m.name for m in pkgutil.iter_modules(path)):
            importlib.import_module(f"{package}.{module}")

    def __iter__(self) -> Iterator[N]:
        return iter(sorted(self._known.values(), key=lambda entry: entry.order))

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __getitem__(self, name: str) -> N:
        return self._known[name]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(entry.name for entry in self)

    def named(self, name: str) -> N:
        """The entry of that name; a `UserError` says which ones there are."""
        if name not in self._known:
            raise UserError(f"There is no {self.kind} “{printable(name, 80)}”.",
                            f"{meant(name, self.names)}Known: {', '.join(self.names)}.", field=self.field)  # fmt: skip
        return self._known[name]


class Instances(Names[N]):
    """Plugins without settings, ready for use: many of a kind that differ in their data."""

    def register(self, *members: N) -> None:
        """Make them reachable under their names. Raises `ValueError` where others have them."""
        for member in members:
            self.add(member)

    def read(self, value: Any) -> N:
        """The plugin of that name. Raises `UserError`."""
        return self.named(str(value))

    def write(self, plugin: N) -> str:
        """The name: the inverse of `read`."""
        return plugin.name

    @property
    def texts(self) -> tuple[str, ...]:
        """How each is written."""
        return self.names


class Classes(Names[type[D]]):
    """The classes of one room."""

    def register(self, cls: type[C]) -> type[C]:
        """Class decorator: make a class reachable under its name. Raises `ValueError` where another one has it."""
        self.add(cast("type[D]", cls))
        return cls


class Registry(Classes[P]):
    """The plugins of one room, which can be read from their text form."""

    @property
    def texts(self) -> tuple[str, ...]:
        """How each is written, its settings in capitals: `percentile:PERCENTILE`; what may be left out in brackets."""
        return tuple(_form(cls) for cls in self)

    def read(self, value: Any) -> P:
        """A plugin from its text form, or from a mapping of `name` and settings. Raises `UserError`."""
        if not isinstance(value, dict):
            return self.parse(str(value))
        settings = {str(key): each for key, each in cast("dict[Any, Any]", value).items()}
        cls = self.named(str(settings.pop("name", "")))
        settings = {key: each for key, each in settings.items() if key not in cls.dropped}
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
            raise UserError(f"“{text}” has more settings than {name} takes.", field=self.field)
        try:
            own = {each.name: each.parse(word) for each, word in zip(settings, words, strict=False)}
            missing = [each.name for each in settings if each.name not in own and each.required]
            if missing:
                raise UserError(f"It lacks {missing[0]}.", f"Write {name}:{missing[0].upper()}.")
            return cls(**own)
        except UserError as error:
            raise UserError(f"“{text}” is not possible. {error.what}", error.remedy, field=self.field) from error


def _form(cls: type[Plugin]) -> str:
    form = cls.name
    for i, each in enumerate(schema(cls)):
        word = (cls.separator if i else ":") + each.name.upper()
        form += f"[{word}]" if each.default == "" else word
    return form


def _write(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
