"""`qexplorer run`: run a job on a model and print the result."""

import argparse
import sys
from functools import partial

from qexplorer.commands import say, say_json, say_table
from qexplorer.commands.foreground import work
from qexplorer.commands.options import add_options, given
from qexplorer.commands.recipe_options import add_recipe_options, recipe_given
from qexplorer.engine.advice import advise_on, document
from qexplorer.engine.jobs import Job, jobs, present
from qexplorer.engine.jobs.record import job_of, let_go, recorded, resumed
from qexplorer.engine.jobs.simulated_job import recipe_in, recipe_settings
from qexplorer.engine.models.trust import Untrusted, trust
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import RunResult
from qexplorer.errors import UserError
from qexplorer.folders import log_folder
from qexplorer.log import logged
from qexplorer.quant.recipe import Recipe
from qexplorer.settings import schema

EXAMPLES = """examples:
  qexplorer run ptq-static --model mobilenet_v2_digits --data digits
  qexplorer run ptq-static --preset none --weight-spec "int3 channel" --activation-spec "uint8 affine mse" \\
      --repairs fold,cle,mse_clip,adaround:500,bias_correction
  qexplorer run weight-only --weight-spec "nf4 group:64" --json
  qexplorer run weight-only --recipe recipe.toml --rule "classifier.* = float"
  qexplorer run sensitivity --weight-spec "int4 channel" --modes both
  qexplorer run bit-budget --target "4 bits"
  qexplorer run qat --weight-spec "int4 channel mse" --activation-spec "uint4 affine mse" --epochs 3
  qexplorer run qat --start RUN_ID --epochs 3             train on from a run of ptq-static or weight-only
  qexplorer run evaluate --model MODEL.py:make --data IMAGES_FOLDER --trust
  qexplorer run qat --resume RUN_ID"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes: a job, and its fields as options."""
    each_job = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    for job in jobs:
        sub = each_job.add_parser(job.name, help=job.help, description=f"{job.title}. {job.help}.", epilog=EXAMPLES,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
        add_options(sub, schema(job))
        if job.by_recipe:
            add_recipe_options(sub)
        sub.add_argument("--resume", metavar="RUN_ID", help="go on with a run that was interrupted, with its settings")
        sub.add_argument("--trust", action="store_true", help="allow the model's own code to run, from now on")
        sub.add_argument("--json", action="store_true", help="print one JSON document, with advice")


def run(args: argparse.Namespace) -> None:
    """Run the job, with an entry in the run history."""
    history = History()
    if args.resume:
        job = job_of(history.get(args.resume))
        if job.name != args.job:
            raise UserError(f"The run {args.resume} is a {job.name}.", f"`qexplorer run {job.name} --resume …`.")
    else:
        job = _job(args)
    _ask_for_trust(job, yes=args.trust)
    steps = resumed(args.resume, history) if args.resume else recorded(job, history)
    with logged(log_folder()):
        result = work(steps, leave=partial(let_go, interrupted=True))
    if args.json:
        say_json(document(result))
    else:
        say_result(result)


def _job(args: argparse.Namespace) -> Job:
    cls = jobs[args.job]
    settings = given(args, schema(cls))
    if not cls.by_recipe or not (args.recipe or args.rule):
        return cls(**settings)
    plain = {each.name: each.default for each in schema(cls)}
    own = recipe_in({name: settings.get(name, plain[name]) for name in cls.by_recipe}) or Recipe()
    recipe = recipe_given(args, own, set(cls.by_recipe) & settings.keys())
    return cls(**{**settings, **recipe_settings(cls, recipe)})


def _ask_for_trust(job: Job, *, yes: bool) -> None:
    """Ask, where somebody can answer, before the model's own code runs; without an answer the job itself refuses."""
    while True:
        try:
            job.check()
        except Untrusted as question:
            if not yes and not (sys.stdin.isatty() and _answered_yes(question)):
                raise UserError(question.what, f"{question.remedy} `--trust` says so.", field="model") from question
            trust(question.path, question.fingerprint)
        else:
            return


def _answered_yes(question: UserError) -> bool:
    sys.stderr.write(f"{question}\nRun it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def say_result(result: RunResult) -> None:
    """The table of a result."""
    first = result.rows[0]
    rows: list[tuple[str, ...]] = []
    for row in result.rows:
        low, high = row.top1_ci95
        cells = [f"{t.median:.2f} ms {first.latency_ms[b].median / t.median:.1f}×" for b, t in row.latency_ms.items()]
        rows.append(
            (row.name, f"{row.kind} {row.engine}", f"{row.top1:.2%} [{low:.2%}, {high:.2%}]", f"{row.top5:.2%}",
             str(row.flips), f"{row.bytes_on_disk / 1e6:.2f} MB", f"{row.bytes_theoretical / 1e6:.2f} MB", *cells)
        )  # fmt: skip
    batches = [f"batch {b}" for b in first.latency_ms]
    titles = ("run", "kernels", "top-1 [95 %]", "top-5", "flips", "on disk", "theoretical", *batches)
    say_table(titles, rows, right=range(3, len(titles)))
    say_layers(result)
    say(f"run {result.run_id}: {first.n} test samples, {first.threads} thread(s), {result.seconds:.1f} s")
    for row in result.rows:
        if row.note:
            say(f"{row.name}: {row.note}")
    for advice in advise_on(result):
        say(f"advice: {advice.sentence}{f' {advice.remedy}.' if advice.remedy else ''}")


SHOWN = 60
"""So many layers are listed."""


def say_layers(result: RunResult) -> None:
    """The layers of jobs that are about them; of a preview of repairs, what each does to one."""
    shown = present(result)
    if shown.table is not None:
        titles, rows = shown.table.titles, shown.table.rows[:SHOWN]
        say_table(titles, rows, right=range(1, len(titles)))
        for line in shown.lines:
            say(line)
