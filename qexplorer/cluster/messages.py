"""What is heard from a cluster: a closed set of messages, in the order in which things happened."""

from dataclasses import dataclass
from typing import Any

from qexplorer.cluster.parcel import Parcel


@dataclass(frozen=True)
class Connected:
    """The scheduler has answered, and its `workers` suit."""

    workers: int


@dataclass(frozen=True)
class Workers:
    """So many workers are there now."""

    n: int


@dataclass(frozen=True)
class Began:
    """A worker has begun a cell: for the first time, or again after another worker was lost."""

    key: str
    worker: str
    host: str


@dataclass(frozen=True)
class Stepped:
    """A cell is so far; `fraction` of its own run."""

    key: str
    worker: str
    phase: str
    fraction: float


@dataclass(frozen=True)
class Offered:
    """A worker has something for the run history, and goes on when it was taken."""

    key: str
    worker: str
    parcel: Parcel


@dataclass(frozen=True)
class Replied:
    """What a worker has answered to the question of that number; an error where it has raised one."""

    key: str
    number: int
    answer: Any


@dataclass(frozen=True)
class Lost:
    """A worker is gone."""

    worker: str


@dataclass(frozen=True)
class Answered:
    """A cell has ended; `answer` is what `remote.run_cell` returned."""

    key: str
    answer: str


@dataclass(frozen=True)
class Broken:
    """The cluster has given a cell up, for this reason."""

    key: str
    reason: str


@dataclass(frozen=True)
class Ended:
    """Nothing more will be heard: all cells have ended, or `error` is why not."""

    error: BaseException | None = None


Message = Connected | Workers | Began | Stepped | Offered | Replied | Lost | Answered | Broken | Ended
