"""`qexplorer run`: run a job on a model and print the result."""

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any, get_type_hints

from qexplorer.commands import say, say_json, say_table, work
from qexplorer.engine.jobs import jobs

if TYPE_CHECKING:
    from qexplorer.engine.results import RunResult

EXAMPLES = """examples:
  qexplorer run ptq-static --model mobilenet_v2_digits --data digits
  qexplorer run ptq-static --preset x86 --limit 100 --json
  qexplorer run ptq-static --model mobilenet_v2_mnist --weights mnist.safetensors --data MNIST_FOLDER"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes: a job, and its fields as options."""
    each_job = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    for job in jobs:
        sub = each_job.add_parser(job.name, help=job.help, description=f"{job.title}. {job.help}.", epilog=EXAMPLES,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
        hints = get_type_hints(job)
        for field in dataclasses.fields(job):  # pyright: ignore[reportArgumentType]
            choices = field.metadata.get("choices", ())
            text = field.metadata["help"] + (f" ({', '.join(choices)})" if choices else "")
            sub.add_argument(
                f"--{field.name.replace('_', '-')}",
                type=hints[field.name],
                default=field.default,
                help=f"{text}; default {field.default!r}".replace("%", "%%"),
            )
        sub.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> None:
    """Run the job, with an entry in the run history."""
    cls = jobs[args.job]
    settings: dict[str, Any] = {f.name: getattr(args, f.name) for f in dataclasses.fields(cls)}  # pyright: ignore[reportArgumentType]
    job = cls(**settings)
    from qexplorer.engine.history import History
    from qexplorer.engine.record import recorded

    result = work(recorded(job, History()))
    if args.json:
        say_json(dataclasses.asdict(result))
    else:
        say_result(result)


def say_result(result: "RunResult") -> None:
    """The table of a result."""
    first = result.rows[0]
    rows: list[tuple[str, ...]] = []
    for row in result.rows:
        low, high = row.top1_ci95
        cells = [
            f"{t['median']:.2f} ms {first.latency_ms[b]['median'] / t['median']:.1f}×"
            for b, t in row.latency_ms.items()
        ]
        rows.append(
            (row.name, f"{row.kind} {row.engine}", f"{row.top1:.2%} [{low:.2%}, {high:.2%}]", f"{row.top5:.2%}",
             str(row.flips), f"{row.bytes_on_disk / 1e6:.2f} MB", f"{row.bytes_theoretical / 1e6:.2f} MB", *cells)
        )  # fmt: skip
    batches = [f"batch {b}" for b in first.latency_ms]
    titles = ("run", "kernels", "top-1 [95 %]", "top-5", "flips", "on disk", "theoretical", *batches)
    say_table(titles, rows, right=range(3, len(titles)))
    say(f"run {result.run_id}: {first.n} test samples, {first.threads} thread(s), {result.seconds:.1f} s")
    for row in result.rows:
        if row.note:
            say(f"{row.name}: {row.note}")
