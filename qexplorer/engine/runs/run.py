"""One line of the run history."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """One run. `status` is running, done, failed, cancelled or interrupted; the times are ISO 8601 in UTC."""

    run_id: str
    job: str
    status: str
    started: str
    ended: str | None
    config_json: str
    result_json: str | None
    error: str | None
    notes: str = ""
