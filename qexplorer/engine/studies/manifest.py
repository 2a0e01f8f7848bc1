"""Which run of the history each run of a study became: a small file beside the history, to resume the study by."""

import json
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from qexplorer.engine.runs.history import History
from qexplorer.engine.studies.study import Study
from qexplorer.errors import UserError
from qexplorer.folders import write_whole
from qexplorer.text import first_few, printable

VERSION = 1
ID = re.compile(r"\d{8}-\d{6}-study-[0-9a-f]{6}", re.ASCII)


class Manifest:
    """The ids of a study's runs by their keys: `studies/ID.json`. Their state is in the run history."""

    def __init__(self, path: Path, title: str, run_ids: dict[str, str]) -> None:
        self.path = path
        self.title = title
        self.run_ids = run_ids

    @property
    def study_id(self) -> str:
        """The id by which the study is resumed."""
        return self.path.stem

    @classmethod
    def new(cls, study: Study, history: History) -> Self:
        """The manifest of a new study. Its file exists from the first run on."""
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-study-{secrets.token_hex(3)}.json"
        return cls(_folder(history) / name, study.title, {})

    @classmethod
    def open(cls, study_id: str, history: History) -> Self:
        """The manifest of an earlier study. Raises `UserError` where there is none, or it cannot be read."""
        path = _folder(history) / f"{study_id}.json" if ID.fullmatch(study_id) else None
        if path is None or not path.is_file():
            known = sorted((p.stem for p in _folder(history).glob("*.json")), reverse=True)
            remedy = f"Studies, newest first: {first_few(known)}." if known else "No study has been started yet."
            raise UserError(f"There is no study “{printable(study_id, 80)}”.", remedy, field="resume")
        try:
            document: Any = json.loads(path.read_text(encoding="utf-8"))
            if document["version"] != VERSION:
                raise ValueError(f"its version is {document['version']}")
            return cls(path, str(document["title"]), {str(k): str(v) for k, v in document["runs"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            what = f"{path} cannot be read: {printable(str(error), 200)}."
            remedy = "It is damaged or from another version. Start the study again."
            raise UserError(what, remedy, field="resume") from error

    def check(self, study: Study) -> None:
        """Raise a `UserError` where the study has none of the runs in this manifest."""
        if self.run_ids and not any(run.key in self.run_ids for run in study.runs):
            title = printable(self.title, 80)
            what = f"The study {self.study_id}, “{title}”, has none of the runs in this file."
            raise UserError(what, "Use the file that the study was started with.", field="resume")

    def add(self, key: str, run_id: str) -> None:
        """Record the id of a run before it starts. When this returns, it is on the disk."""
        self.run_ids[key] = run_id
        document = {"version": VERSION, "study_id": self.study_id, "title": self.title, "runs": self.run_ids}
        write_whole(self.path, json.dumps(document, indent=1).encode())


def _folder(history: History) -> Path:
    return history.path.parent / "studies"
