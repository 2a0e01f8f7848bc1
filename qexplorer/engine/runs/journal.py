"""What a run has finished so far: after a crash, a power cut or a cancel it goes on from there."""

import hashlib
import io
import json
import secrets
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.runs.curve_points import CurvePoint, read_point
from qexplorer.folders import inside, write_whole

EVALUATED, POINT = "evaluated/", "point/"
"""What keys begin with: of rows that were evaluated, and of points of curves that are shown while the run goes on."""
Arrays = Mapping[str, NDArray[Any]]
DAMAGE = (OSError, ValueError, KeyError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What reading a file of arrays may fail with whose bytes are not those that were written."""


class Journal:
    """Finished steps by their keys. This one forgets; that of a recorded run is in the run history.

    A step is entered when it is done as a whole, so what is found here need not be done again.
    """

    def __init__(self) -> None:
        self._steps: dict[str, str] = {}
        self._arrays: dict[str, dict[str, NDArray[Any]]] = {}

    def get(self, key: str) -> Any:
        """What a step was entered with; None where it is not done."""
        found = self._steps.get(key)
        return None if found is None else json.loads(found)

    def put(self, key: str, value: Any) -> None:
        """Enter a step as done, with what JSON can hold. When this returns, it is on the disk."""
        self._steps[key] = json.dumps(value, allow_nan=False)

    def keys(self, prefix: str) -> list[str]:
        """The keys that begin so, in the order in which they were first entered."""
        return [key for key in self._steps if key.startswith(prefix)]

    def arrays(self, key: str) -> dict[str, NDArray[Any]] | None:
        """The arrays that a step was entered with; None where it is not done."""
        return self._arrays.get(key) if self.get(key) is not None else None

    def put_arrays(self, key: str, arrays: Arrays) -> None:
        """Enter a step as done, with arrays; those of an earlier entry of the same key are gone."""
        self._arrays[key] = {name: np.array(array) for name, array in arrays.items()}
        self.put(key, True)

    def put_point(self, place: int, point: CurvePoint) -> None:
        """Enter a point of the run's curves, such as an epoch; points come in the order of their places."""
        self.put(f"{POINT}{place:06}", point.to_json())

    def points(self) -> tuple[CurvePoint, ...]:
        """The points so far."""
        found = [self.get(key) for key in self.keys(POINT)]
        return tuple(read_point(each) for each in found if each is not None)


def save_arrays(folder: Path, arrays: Arrays) -> Path:
    """Write arrays to a new file whose name ends in its own SHA-256, and return its path.

    Raises `UserError` where the disk does not let it.
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    path = inside(folder, arrays_name(hashlib.sha256(buffer.getbuffer()).hexdigest()))
    write_whole(path, buffer.getbuffer())
    return path


def arrays_name(sha256: str) -> str:
    """A name for a file of arrays with that digest; no two steps share a file."""
    return f"{secrets.token_hex(8)}-{sha256}.npz"


def load_arrays(path: Path) -> dict[str, NDArray[Any]] | None:
    """What `save_arrays` wrote; None where it is gone or damaged. Before version 0.2 no digest was kept."""
    try:
        with path.open("rb") as raw:
            sha256 = path.stem.partition("-")[2]
            if sha256 and hashlib.file_digest(raw, "sha256").hexdigest() != sha256:
                return None
            raw.seek(0)
            with np.load(raw, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
    except DAMAGE:
        return None
