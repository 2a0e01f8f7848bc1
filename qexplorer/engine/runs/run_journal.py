"""The finished steps of a recorded run."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from qexplorer.engine.runs.database import Database
from qexplorer.engine.runs.journal import Arrays, Journal, arrays_name, load_arrays, save_arrays
from qexplorer.folders import disk_errors, inside
from qexplorer.log import log
from qexplorer.text import printable

ARRAYS = re.compile(r"[0-9a-f]{16}(-[0-9a-f]{64})?\.npz", re.ASCII)
"""What the files of steps are called; before version 0.2 without a digest."""


class RunJournal(Journal):
    """The finished steps of one run, in the history's own file; arrays lie beside it."""

    def __init__(self, database: Database, run_id: str) -> None:
        super().__init__()
        self._database = database
        self._run_id = run_id

    def get(self, key: str) -> Any:
        query = "SELECT value_json FROM steps WHERE run_id = ? AND key = ?"
        with self._database.read() as database:
            found = database.execute(query, (self._run_id, key)).fetchone()
        if found is None:
            return None
        try:
            return json.loads(found[0])
        except (ValueError, TypeError, RecursionError):
            log.warning("a damaged step was taken out of run %s; it is done again", printable(self._run_id))
            with self._database.open() as database:
                database.execute("DELETE FROM steps WHERE run_id = ? AND key = ?", (self._run_id, key))
            return None

    def put(self, key: str, value: Any) -> None:
        values = (self._run_id, key, json.dumps(value, allow_nan=False))
        with self._database.open() as database:
            database.execute(
                "INSERT INTO steps VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value_json = excluded.value_json", values
            )

    def keys(self, prefix: str) -> list[str]:
        query = "SELECT key FROM steps WHERE run_id = ? AND substr(key, 1, ?) = ? ORDER BY rowid"
        with self._database.read() as database:
            return [key for (key,) in database.execute(query, (self._run_id, len(prefix), prefix))]

    def file_of(self, key: str) -> Path | None:
        """The file of the arrays that a step was entered with; None where it has none."""
        name = self.get(key)
        if not isinstance(name, str) or not ARRAYS.fullmatch(name):
            return None
        return inside(self._database.steps_folder(self._run_id), name)

    def arrays(self, key: str) -> dict[str, NDArray[Any]] | None:
        file = self.file_of(key)
        return None if file is None else load_arrays(file)

    def put_arrays(self, key: str, arrays: Arrays) -> None:
        """Each entry has a file of its own, so that the earlier one is whole until the new one is."""
        self._enter(key, save_arrays(self._database.steps_folder(self._run_id), arrays))

    def adopt(self, key: str, file: Path) -> None:
        """Enter a step as done, with the arrays in a file that `save_arrays` wrote; it is moved here."""
        folder = self._database.steps_folder(self._run_id)
        with disk_errors(file):
            with file.open("rb") as content:
                own = inside(folder, arrays_name(hashlib.file_digest(content, "sha256").hexdigest()))
            folder.mkdir(parents=True, exist_ok=True)
            file.replace(own)
        self._enter(key, own)

    def _enter(self, key: str, file: Path) -> None:
        before = self.file_of(key)
        self.put(key, file.name)
        if before is not None:
            before.unlink(missing_ok=True)
