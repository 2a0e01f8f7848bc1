"""Which run each cell of a study became: a small file beside the run history, so that a study can be gone on with."""

import json
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from qexplorer.cluster.study import Study
from qexplorer.engine.runs.history import History
from qexplorer.errors import UserError
from qexplorer.folders import write_whole
from qexplorer.text import first_few, printable

VERSION = 1
ID = re.compile(r"\d{8}-\d{6}-study-[0-9a-f]{6}", re.ASCII)


class Book:
    """The runs of one study, by the keys of its cells: `studies/ID.json`. How they stand is in the run history."""

    def __init__(self, path: Path, title: str, runs: dict[str, str]) -> None:
        self.path = path
        self.title = title
        self.runs = runs

    @property
    def study_id(self) -> str:
        """What the study is called where it is gone on with."""
        return self.path.stem

    @classmethod
    def begin(cls, study: Study, history: History) -> Self:
        """That of a new study. Its file is there from its first run on."""
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-study-{secrets.token_hex(3)}.json"
        return cls(_folder(history) / name, study.title, {})

    @classmethod
    def open(cls, study_id: str, history: History) -> Self:
        """That of a study that was begun earlier. Raises `UserError` where there is none, or it cannot be read."""
        path = _folder(history) / f"{study_id}.json"
        if not ID.fullmatch(study_id) or not path.is_file():
            known = sorted((p.stem for p in _folder(history).glob("*.json")), reverse=True)
            remedy = f"Studies, newest first: {first_few(known)}." if known else "None was begun yet."
            raise UserError(f"There is no study “{printable(study_id, 80)}”.", remedy, field="resume")
        try:
            document: Any = json.loads(path.read_text(encoding="utf-8"))
            if document["version"] != VERSION:
                raise ValueError(f"it is of version {document['version']}")
            return cls(path, str(document["title"]), {str(k): str(v) for k, v in document["runs"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            what = f"{path} cannot be read: {printable(str(error), 200)}."
            raise UserError(
                what, "It is damaged, or of another version; start the study anew.", field="resume"
            ) from error

    def check(self, study: Study) -> None:
        """Raise a `UserError` where this is the book of other cells than the study's."""
        if self.runs and not any(cell.key in self.runs for cell in study.cells):
            title = printable(self.title, 80)
            what = f"The study {self.study_id}, “{title}”, has none of the runs that this file asks for."
            raise UserError(what, "Give the file that it was begun with.", field="resume")

    def enter(self, key: str, run_id: str) -> None:
        """A cell is about to become this run. When this returns, it is on the disk."""
        self.runs[key] = run_id
        document = {"version": VERSION, "study_id": self.study_id, "title": self.title, "runs": self.runs}
        write_whole(self.path, json.dumps(document, indent=1).encode())


def _folder(history: History) -> Path:
    return history.path.parent / "studies"
