"""`qexplorer runs`: the run history."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qexplorer.commands import say, say_json, say_table, warn
from qexplorer.errors import UserError

if TYPE_CHECKING:
    from qexplorer.engine.runs.history import History
    from qexplorer.engine.runs.run import Run

EXAMPLES = """examples:
  qexplorer runs
  qexplorer runs 20261120-101500-ab12 --json
  qexplorer runs RUN_ID --note "the one that ships"
  qexplorer runs RUN_ID --delete
  qexplorer runs RUN_ID --compare OTHER_RUN_ID          their last rows, paired (McNemar)
  qexplorer runs --export all.html                      or .csv"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("run_id", nargs="?", metavar="RUN_ID", help="one run with its result")
    parser.add_argument("--note", metavar="TEXT", help="keep a note about the run")
    parser.add_argument("--delete", action="store_true", help="remove the run with its files")
    parser.add_argument("--compare", metavar="OTHER", help="the last rows of two runs on the same samples")
    parser.add_argument("--export", metavar="FILE", help="write the run, or all of them, as .csv or .html")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> None:
    """List the runs, newest first, or show, annotate, compare, export or delete one."""
    from qexplorer.engine.runs.history import History

    history = History()
    try:
        history.mark_interrupted()
    except UserError as error:  # what can be read is shown all the same
        warn(str(error))
    if history.note:
        warn(history.note)
    if not args.run_id and (args.note is not None or args.delete or args.compare):
        raise UserError("Which run?", "Name it: `qexplorer runs RUN_ID …`.", field="run_id")
    runs = [history.get(args.run_id)] if args.run_id else history.runs()
    if args.export:
        from qexplorer.engine.jobs.report import export

        left_out = export(runs, Path(args.export).expanduser())
        if left_out:
            say(left_out)
    elif args.delete:
        history.delete(args.run_id)
    elif args.note is not None:
        history.annotate(args.run_id, args.note)
    elif args.compare:
        _compare(history, args.run_id, args.compare, as_json=args.json)
    else:
        _show(runs, one=bool(args.run_id), as_json=args.json)


def _show(runs: "list[Run]", *, one: bool, as_json: bool) -> None:
    if as_json:
        say_json({"runs": [_json(each, full=one) for each in runs]})
        return
    if one and runs[0].result_json:
        from qexplorer.commands.run import say_result
        from qexplorer.engine.runs.results import RunResult

        say_result(RunResult.from_json(runs[0].result_json))
        if runs[0].notes:
            say(runs[0].notes)
        return
    if not runs:
        say("No runs yet: `qexplorer run ptq-static` makes one.")
        return
    rows = [(r.run_id, r.job, r.status, r.started, r.ended or "", (r.error or r.notes).split("\n")[0]) for r in runs]
    say_table(("run", "job", "status", "started", "ended", "error or notes"), rows)


def _compare(history: "History", first: str, second: str, *, as_json: bool) -> None:
    from qexplorer.engine.runs.compare import candidate, paired

    a, b = (candidate(history, run_id) for run_id in (first, second))
    found = paired(a, b)
    document = {"first": [a.run_id, a.row], "second": [b.run_id, b.row], "both": found.both,
                "only_first": found.only_first, "only_second": found.only_second, "neither": found.neither,
                "p": found.p, "changed": found.changed.tolist()}  # fmt: skip
    if as_json:
        say_json(document)
        return
    titles = ("", f"{b.row} right", f"{b.row} wrong")
    rows = [(f"{a.row} right", str(found.both), str(found.only_first)),
            (f"{a.row} wrong", str(found.only_second), str(found.neither))]  # fmt: skip
    say_table(titles, rows, right=(1, 2))
    say(f"McNemar, exact: p = {found.p:.3g}; {len(found.changed)} of {len(a.labels)} predictions differ")


def _json(run: "Run", *, full: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "run_id": run.run_id,
        "job": run.job,
        "status": run.status,
        "started": run.started,
        "ended": run.ended,
        "config": json.loads(run.config_json),
        "error": run.error,
        "notes": run.notes,
    }
    if full:
        document["result"] = _result(run.result_json) if run.result_json else None
    return document


def _result(text: str) -> Any:
    """A result with the advice on it; as it was written where this version does not understand it."""
    from qexplorer.engine.advice import document
    from qexplorer.engine.runs.results import RunResult

    try:
        return document(RunResult.from_json(text))
    except UserError:
        return json.loads(text)
