"""What an inert reading of a pickle yields in place of objects: names, calls that never happen, and plain containers.

Nothing here hashes or compares what came from the file: a tuple nested 200,000 deep would take the process with it.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """A reference to a function or class, e.g. `torch._utils._rebuild_tensor_v2`. It is never looked up."""

    module: str
    name: str

    @property
    def full_name(self) -> str:
        """Module and name."""
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Call:
    """A call that the pickle asks for and that is not made; with what the pickle would then put into the result."""

    function: Any
    arguments: Any
    pairs: list[tuple[Any, Any]] | None = None
    items: list[Any] | None = None
    state: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Persistent:
    """A reference to something outside the pickle, e.g. a tensor's storage."""

    key: Any


@dataclass(slots=True, eq=False)
class PairTable:
    """A dictionary as the list of its pairs, in the pickle's order."""

    pairs: list[tuple[Any, Any]] = field(default_factory=list[tuple[Any, Any]])
