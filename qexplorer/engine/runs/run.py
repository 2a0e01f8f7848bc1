"""One line of the run history."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qexplorer.text import printable

DAMAGED = "damaged"
TEXTS = ("run_id", "job", "status", "started", "config_json", "notes")
"""The columns that are never empty."""
SHOWN = 200


@dataclass(frozen=True)
class Run:
    """One run. `status` is running, done, failed, cancelled or interrupted, or damaged where its line in the history
    cannot be read; the times are ISO 8601 in UTC.
    """

    run_id: str
    job: str
    status: str
    started: str
    ended: str | None
    config_json: str
    result_json: str | None
    error: str | None
    notes: str = ""


def run_of(row: Sequence[Any]) -> Run:
    """A line of the history as SQLite gives it, which may hold values of any type, whatever its columns say."""
    run = Run(*row)
    wrong = [
        name for name, value in vars(run).items() if not isinstance(value, str) and (name in TEXTS or value is not None)
    ]
    try:
        settings = json.loads(run.config_json)
        if not isinstance(settings, dict):
            wrong.append("config_json")
    except (TypeError, ValueError, RecursionError):
        wrong.append("config_json")
    if not wrong:
        return run
    texts = [printable(str(getattr(run, name)), SHOWN) for name in ("run_id", "job", "started", "notes")]
    error = f"This line of the run history is damaged: {', '.join(dict.fromkeys(wrong))} cannot be read."
    return Run(texts[0], texts[1], DAMAGED, texts[2], None, "{}", None, error, texts[3])
