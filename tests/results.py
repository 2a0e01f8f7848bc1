"""Results that no job made: the parts of a document that a test is about, and something for all others."""

import json
from typing import Any

from qexplorer.engine.runs.results import Row, RunResult
from qexplorer.settings import write


def a_result(job: str, *rows: Row, **parts: Any) -> RunResult:
    """A result with these rows, from the parts of its document as JSON has them."""
    document = {"run_id": "", "model": {"name": "m", "sha256": ""}, "data": {"name": "d", "sha256": "",
                "calibration_n": 0}, "seed": 0, "spec": {}, "versions": {}, "seconds": 1.0}  # fmt: skip
    return RunResult.from_json(json.dumps({**document, "job": job, "rows": [write(row) for row in rows], **parts}))
