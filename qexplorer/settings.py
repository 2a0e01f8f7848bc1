"""What a setting is: a field of a frozen dataclass that says how it is called, explained, bounded and written.

From this one description follow the control in the window, the option of the command line, a plugin's text form, and
what the session, study files and the run history hold. There is one reader, `read`, one writer, `write`, and one
checker, `check`.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Any, Literal, Protocol, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from qexplorer.errors import UserError
from qexplorer.text import printable

T = TypeVar("T")
KINDS: Mapping[Any, str] = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


class Choosable(Protocol):
    """The registry of the plugins among which a setting chooses."""

    @property
    def texts(self) -> tuple[str, ...]:
        """How each of them is written."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """What each of them is called."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """The plugins or their classes, in order: each has a `name`, a `title` and a `help`."""
        ...

    def read(self, value: Any) -> Any:
        """The plugin of a text form, or of a mapping of its name and settings. Raises `UserError`."""

    def write(self, plugin: Any) -> Any:
        """What `read` makes the plugin of again, as JSON and TOML can hold it."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of the few values that a setting may have, and what people read for it."""

    value: str
    title: str = ""
    help: str = ""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field. `help` is a phrase without a full stop.

    `choices` are all values that there are, `offers` texts that are offered beside any other; `unit` stands behind a
    number; `empty` is what an empty text or a 0 stands for; `browse` says that a path is chosen with a dialog, which
    shows `files`. A form may fold away what is `minor` and gives two columns to what is `wide`. `registry` has the
    plugins among which the setting chooses. `name`, `kind` and `default` follow from the field; one without a default
    has `...`.
    """

    title: str
    help: str = ""
    choices: tuple[Choice, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    offers: tuple[str, ...] = ()
    empty: str = ""
    browse: Literal["", "file", "folder"] = ""
    files: str = ""
    minor: bool = False
    wide: bool = False
    registry: Choosable | None = None
    name: str = ""
    kind: Any = str
    default: Any = ...

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is ...

    @property
    def values(self) -> tuple[str, ...]:
        """The values of the choices."""
        return tuple(choice.value for choice in self.choices)

    def check(self, value: Any) -> None:
        """Raise a `UserError` that names the field where a value is out of bounds."""
        if self.choices and value not in self.values:
            remedy = f"Choose one of {', '.join(self.values)}."
            raise UserError(f"{self.title} cannot be “{printable(str(value), 80)}”.", remedy, field=self.name)
        if self.minimum is not None and not value >= self.minimum:
            raise UserError(f"{self.title} must be {self.minimum} or more, not {value}.", field=self.name)
        if self.maximum is not None and not value <= self.maximum:
            raise UserError(f"{self.title} must be {self.maximum} or less, not {value}.", field=self.name)

    def parse(self, word: str) -> Any:
        """The value of a word. Raises `UserError` where it is none of the field's type."""
        if self.registry is not None:
            return self.registry.read(word)
        if self.choices:
            return word
        try:
            return self.kind(word)
        except (TypeError, ValueError):
            wanted = KINDS.get(self.kind, self.kind)
            raise UserError(f"{self.title} must be {wanted}, not “{printable(word, 80)}”.", field=self.name) from None

    def read(self, value: Any, where: str, *, strict: bool = False) -> Any:
        """The value of what JSON or TOML has for the field, as `settings.read`. An error names the field."""
        try:
            return self.registry.read(value) if self.registry else _read(self.kind, value, where, strict=strict)
        except UserError as error:
            raise UserError(error.what, error.remedy, field=error.field or self.name) from error


def setting(default: Any, title: str, help_text: str = "", *, choices: Iterable[str | Choice] = (), **how: Any) -> Any:
    """A dataclass field with its `Setting`; `...` for a default where there is none, `how` as in `Setting`."""
    known = tuple(each if isinstance(each, Choice) else Choice(each) for each in choices)
    own = Setting(title, help_text, known, **how)
    metadata = {"setting": own}
    return (
        dataclasses.field(metadata=metadata)
        if default is ...
        else dataclasses.field(default=default, metadata=metadata)
    )


@cache
def schema(cls: Any) -> tuple[Setting, ...]:
    """The settings of a dataclass in their order. A field that was not made by `setting` is called by its name."""
    hints = get_type_hints(cls)
    found: list[Setting] = []
    for f in dataclasses.fields(cls):
        own: Setting = f.metadata.get("setting") or Setting(f.name.replace("_", " ").capitalize())
        default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        default = ... if default is dataclasses.MISSING else default
        found.append(dataclasses.replace(own, name=f.name, kind=hints[f.name], default=default))
    return tuple(found)


def values_of(settings: Any) -> dict[str, Any]:
    """The fields of a dataclass instance as they are, by their names."""
    return {each.name: getattr(settings, each.name) for each in schema(type(settings))}


def check(settings: Any) -> None:
    """Raise a `UserError` for the first field of a dataclass instance that is out of bounds."""
    for each in schema(type(settings)):
        each.check(getattr(settings, each.name))


def write(settings: Any) -> dict[str, Any]:
    """The fields of a dataclass instance as JSON and TOML can hold them, infinity as a word; a part with a `to_json`
    writes itself.
    """
    return {
        each.name: each.registry.write(value) if each.registry else _write(value)
        for each in schema(type(settings))
        for value in (getattr(settings, each.name),)
    }


def _write(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if dataclasses.is_dataclass(value):
        return write(value)
    if isinstance(value, Mapping):
        return {str(key): _write(each) for key, each in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_write(each) for each in cast("Iterable[Any]", value)]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def read(kind: type[T], value: Any, where: str, *, strict: bool = False) -> T:
    """`value`, as JSON or TOML has it, as one of the type `kind`, mostly a dataclass: the inverse of `write`.

    A whole number serves where a number is wanted, and so do the words for infinity; NaN and infinite numbers are
    refused. Keys that a dataclass does not know are left out, or refused if `strict`; a part with a `from_json` reads
    itself. Of a union of dataclasses it is the first whose required settings are there. Raises a `UserError` that
    names, as part of `where`, what is missing, of another type or out of bounds.
    """
    if dataclasses.is_dataclass(kind):
        return _read_fields(kind, value, where, strict=strict)
    return _read(kind, value, where, strict=strict)


def _read(kind: Any, value: Any, where: str, *, strict: bool) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any or (value is None and type(None) in inner):
        return value
    if hasattr(kind, "from_json") and isinstance(value, dict):
        return kind.from_json(value)
    if dataclasses.is_dataclass(kind):
        return _read_fields(kind, value, where, strict=strict)
    if origin in (Union, UnionType):
        return _read(_member([each for each in inner if each is not type(None)], value), value, where, strict=strict)
    if origin is Literal:
        if value not in inner:
            raise UserError(
                f"{where} cannot be “{printable(str(value), 80)}”.", f"Choose one of {', '.join(map(str, inner))}."
            )
        return value
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {str(key): _read(inner[1], each, f"{key} in {where}", strict=strict) for key, each in value.items()}
    if origin in (list, tuple) and isinstance(value, list):
        if origin is tuple and inner[-1] is not Ellipsis and len(value) != len(inner):
            raise UserError(f"{where} has {len(value)} entries, not {len(inner)}.")
        return origin(_read(inner[0], each, f"entry {i} of {where}", strict=strict) for i, each in enumerate(value))
    return _read_plain(kind, value, where)


def _member(kinds: list[Any], value: Any) -> Any:
    """Which of the types of a union a value is read as."""
    if not isinstance(value, dict):
        return next((each for each in kinds if type(value) is each), kinds[0])
    tables = [each for each in kinds if dataclasses.is_dataclass(each)]
    fitting = [each for each in tables if all(s.name in value for s in schema(each) if s.required)]
    return (fitting or tables or kinds)[0]


def _read_fields(cls: Any, value: Any, where: str, *, strict: bool) -> Any:
    if not isinstance(value, dict):
        raise UserError(f"{sentence(where)} is not a table of settings.")
    known = {each.name: each for each in schema(cls)}
    if strict:
        for key in value:
            require_known(str(key), known, where)
    own: dict[str, Any] = {}
    for name, each in known.items():
        if name in value:
            own[name] = each.read(value[name], f"{name} of {where}", strict=strict)
        elif each.required:
            raise UserError(f"{sentence(where)} lacks {name}.", field=name)
    return cls(**own)


def require_known(key: str, known: Iterable[str], where: str) -> None:
    """Raise a `UserError` for a key that is none of `known`, with the one that may have been meant."""
    names = list(known)
    if key not in names:
        raise UserError(
            f"{sentence(where)} has no setting “{printable(key, 80)}”.",
            f"{meant(key, names)}Its settings: {', '.join(names)}.",
            field=key,
        )


def meant(word: str, known: Iterable[str]) -> str:
    """“Did you mean …? ” with the word that is most alike; empty where none is."""
    import difflib  # only what was mistyped needs it, and it is slow to load

    close = difflib.get_close_matches(word, list(known), 1)
    return f"Did you mean {close[0]}? " if close else ""


def sentence(text: str) -> str:
    """The text with the article at its beginning as a sentence begins; a key or a file's name stays."""
    return "The " + text[4:] if text.startswith("the ") else text


def _read_plain(kind: Any, value: Any, where: str) -> Any:
    if kind is float and (type(value) is int or value in ("inf", "-inf")):
        return float(value)
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise UserError(
            f"{sentence(where)} cannot be “{printable(str(value), 80)}”.", f"It is {KINDS.get(kind, kind)}."
        )
    return value
