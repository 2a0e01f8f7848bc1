"""`qexplorer runs`: the run history."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from qexplorer.commands import say, say_json, say_table

if TYPE_CHECKING:
    from qexplorer.engine.history import Run

EXAMPLES = """examples:
  qexplorer runs
  qexplorer runs 20261120-101500-ab12 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("run_id", nargs="?", metavar="RUN_ID", help="one run with its result")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> None:
    """List the runs, newest first, or show one."""
    from qexplorer.engine.history import History
    from qexplorer.engine.results import RunResult

    history = History()
    history.mark_interrupted()
    runs = [history.get(args.run_id)] if args.run_id else history.runs()
    if args.json:
        say_json({"runs": [_json(each, full=bool(args.run_id)) for each in runs]})
        return
    if args.run_id and runs[0].result_json:
        from qexplorer.commands.run import say_result

        say_result(RunResult.from_json(runs[0].result_json))
        return
    if not runs:
        say("No runs yet: `qexplorer run ptq-static` makes one.")
        return
    rows = [(r.run_id, r.job, r.status, r.started, r.ended or "", (r.error or "").split("\n")[0]) for r in runs]
    say_table(("run", "job", "status", "started", "ended", "error"), rows)


def _json(run: "Run", *, full: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "run_id": run.run_id,
        "job": run.job,
        "status": run.status,
        "started": run.started,
        "ended": run.ended,
        "config": json.loads(run.config_json),
        "error": run.error,
    }
    if full:
        document["result"] = json.loads(run.result_json) if run.result_json else None
    return document
