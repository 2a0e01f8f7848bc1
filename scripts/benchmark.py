"""Every performance figure with its peer beside it: `python3 scripts/benchmark.py [--only NAME] [--json] [--quick]`.

Ours and the peer do the same work in turn, on all cores, after a warm-up, and their results are compared before any
time is told. Runs in the environment of scripts/test.py. The syntax is that of Python 3.6, as in launch.py.
"""

import sys

from launch import require_python

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from benchmarks.figures import Figure


def main(arguments: "list[str]") -> int:
    """Measure what is asked for; 0, or 1 where results differ from a peer's, 2 for a name that does not exist."""
    require_python(sys.version_info)
    options = parsed(arguments)
    import importlib.util

    from benchmarks import chosen

    try:
        modules = chosen(options.only)
    except LookupError as error:
        print(f"benchmark: {error.args[0]}", file=sys.stderr)
        return 2
    if importlib.util.find_spec("qexplorer") is None:
        return elsewhere(arguments)
    if options.worker:
        return work(options.worker)
    figures, failures = measure(modules, options.quick)
    show(figures, failures, options)
    return 1 if failures else 0


def parsed(arguments: "list[str]") -> "argparse.Namespace":
    """What the command line says."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="benchmark.py", description="Every performance figure, with its peer beside it."
    )
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this figure; may be repeated")
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of a table")
    parser.add_argument("--quick", action="store_true", help="16 times less of everything: not the bars")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def elsewhere(arguments: "list[str]") -> int:
    """Run in the environment of the tests, made ready first; its exit status."""
    import subprocess

    from _environment import EXIT_CODE, INTERRUPTED, Environment, SetupError, say

    environment = Environment()
    try:
        environment.prepare("test")
        return subprocess.run([str(environment.python), __file__, *arguments], check=False).returncode
    except SetupError as error:
        say(str(error))
        return EXIT_CODE
    except KeyboardInterrupt:
        say("Interrupted.")
        return INTERRUPTED


def work(call: str) -> int:
    """Do one piece of work for another process of this script."""
    import contextlib

    from benchmarks.workers import answer

    with contextlib.redirect_stdout(sys.stderr):
        text = answer(call)
    print(text)
    return 0


def measure(modules: "dict[str, list[str]]", quick: bool) -> "tuple[list[Figure], list[str]]":
    """The figures, and those that there are none of: where results differ from a peer's, or a window fails."""
    import contextlib
    import importlib
    from dataclasses import replace

    from benchmarks.figures import DifferenceError, say
    from benchmarks.quiet import Others
    from benchmarks.workers import WorkerError

    figures = []
    failures = []
    others = Others()
    with contextlib.redirect_stdout(sys.stderr):
        for module, names in modules.items():
            rest = list(names)
            while rest:
                try:
                    for figure in importlib.import_module("benchmarks." + module).measure(tuple(rest), quick):
                        figures.append(replace(figure, others=others.share()))
                        rest.remove(figure.name)
                        say(f"{figure.name}: done")
                except (DifferenceError, WorkerError) as failure:
                    failures.append(f"{rest.pop(0)}: {failure}")
                    say(failures[-1])
    return figures, failures


def show(figures: "list[Figure]", failures: "list[str]", options: "argparse.Namespace") -> None:
    """Print the answer on stdout."""
    if options.json:
        import json

        print(json.dumps([figure.to_json() for figure in figures], indent=1))
        return
    from benchmarks.table import table

    print(table(figures, failures, options.quick))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
