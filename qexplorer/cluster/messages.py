"""What a worker says about itself and its run: JSON, bounded and checked when it arrives."""

import json
from dataclasses import dataclass
from typing import TypeVar

from qexplorer.cluster.artifact import Artifact
from qexplorer.errors import UserError
from qexplorer.settings import read, write

T = TypeVar("T")
MOST_BYTES = 100_000
"""Of one message."""


@dataclass(frozen=True)
class Hello:
    """A worker's machine, and the releases of the packages that have to be the same everywhere."""

    host: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Report:
    """How far a run is, and the artifact that it offers; it continues when that was fetched."""

    phase: str = ""
    fraction: float = 0.0
    artifact: Artifact | None = None


def pack(message: Hello | Report) -> bytes:
    """A message as JSON."""
    return json.dumps(write(message)).encode()


def unpack(kind: type[T], content: object) -> T:
    """The message in what a worker has sent. Raises `UserError` where it is none of that kind."""
    what = f"A worker's message {kind.__name__}"
    if not isinstance(content, bytes) or len(content) > MOST_BYTES:
        raise UserError(f"{what} is too long or no message.", "Run it again.")
    try:
        return read(kind, json.loads(content), what, strict=True)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{what} is not JSON.", "Run it again.") from error
