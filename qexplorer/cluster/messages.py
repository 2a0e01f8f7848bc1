"""The messages of a worker to the study's owner. They travel as Dask events: plain values, checked when they arrive."""

from dataclasses import dataclass
from typing import Any

from qexplorer.cluster.artifact import Artifact
from qexplorer.errors import UserError
from qexplorer.settings import read, write
from qexplorer.text import printable

TEXT = 200
"""The most characters that are kept of a worker's words."""


@dataclass(frozen=True)
class Message:
    """Something about a run, which `key` names, from the worker with that address."""

    key: str
    worker: str

    def to_event(self) -> dict[str, Any]:
        """The message as plain values."""
        return {"kind": type(self).__name__, **write(self)}


@dataclass(frozen=True)
class Started(Message):
    """A worker has started a run: for the first time, or again after another worker was lost."""

    host: str


@dataclass(frozen=True)
class Stepped(Message):
    """How far a run is; `fraction` is that of this run."""

    phase: str
    fraction: float


@dataclass(frozen=True)
class Offered(Message):
    """A worker has something for the run history, and continues when it was fetched."""

    artifact: Artifact


KINDS: dict[str, type[Message]] = {cls.__name__: cls for cls in (Started, Stepped, Offered)}


def text_of(event: Any, name: str) -> str:
    """A text in an event, which may be anything; empty where it has none of that name."""
    value = event.get(name) if isinstance(event, dict) else None
    return value if isinstance(value, str) else ""


def read_message(event: Any) -> Message:
    """The message of an event; a `UserError` where it is none."""
    kind = text_of(event, "kind")
    if kind not in KINDS:
        raise UserError(f"A worker sent an unknown message “{printable(kind, TEXT)}”.")
    fields = {name: value for name, value in event.items() if name != "kind"}
    return read(KINDS[kind], fields, f"A worker's message {kind}", strict=True)
