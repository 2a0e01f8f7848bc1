"""Values of results that leave out of JSON what a run does not have."""

from dataclasses import dataclass
from typing import Any

from qexplorer.settings import schema, values_of, write


@dataclass(frozen=True)
class Sparse:
    """A dataclass whose fields are written to JSON only where they differ from their defaults."""

    def to_json(self) -> dict[str, Any]:
        """What `settings.read` takes."""
        values, written = values_of(self), write(self)
        return {s.name: written[s.name] for s in schema(type(self)) if values[s.name] != s.default}
