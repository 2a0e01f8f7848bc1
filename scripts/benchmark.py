"""Every performance figure with its peer beside it: `python3 scripts/benchmark.py [--only NAME] [--json] [--quick]`.

Ours and the peer do the same work in turn, on all cores, after a warm-up, and their results are compared before any
time is told. Each figure is told on stderr as soon as it is known, and all of them on stdout at the end. Runs in the
environment of scripts/test.py. The syntax is that of Python 3.6, as in launch.py.
"""

import sys

from launch import require_python

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from benchmarks.figures import Failure, Figure


def main(arguments: "list[str]") -> int:
    """Measure what is asked for; 0, or 1 where a figure failed, 2 for a name that does not exist, 130 after Ctrl-C."""
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
        from _inside import inside

        return inside("test", [__file__, *arguments])
    if options.worker:
        return work(options.worker)
    from benchmarks.figures import Failure

    rows = []
    try:
        measure(modules, options.quick, rows)
    except KeyboardInterrupt:
        show(rows, options)
        return 130
    show(rows, options)
    return 1 if any(isinstance(row, Failure) for row in rows) else 0


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


def work(call: str) -> int:
    """Do one piece of work for another process of this script."""
    import contextlib

    from benchmarks.workers import answer

    with contextlib.redirect_stdout(sys.stderr):
        text = answer(call)
    print(text)
    return 0


def measure(modules: "dict[str, list[str]]", quick: bool, rows: "list[Figure | Failure]") -> None:
    """Add a row for every name, each told as soon as it is known; one that fails takes no other with it."""
    import contextlib
    from dataclasses import replace

    from benchmarks.figures import Figure, say
    from benchmarks.quiet import Others
    from benchmarks.table import line

    others = Others()
    with contextlib.redirect_stdout(sys.stderr):
        for module, names in modules.items():
            for row in rows_of(module, names, quick):
                share = others.share()
                rows.append(replace(row, others=share) if isinstance(row, Figure) else row)
                say(line(rows[-1]))


def rows_of(module: str, names: "list[str]", quick: bool) -> "Iterator[Figure | Failure]":
    """What a module measures, in its order; after a failure it goes on with the next name."""
    import importlib

    from benchmarks.figures import Failure

    rest = list(names)
    while rest:
        try:
            for figure in importlib.import_module("benchmarks." + module).measure(tuple(rest), quick):
                rest.remove(figure.name)
                yield figure
            failure = "it was not measured"
        except Exception as error:  # noqa: BLE001  whatever one figure fails of, the others are not lost
            failure = f"{type(error).__name__}: {error}"
        if rest:
            yield Failure(rest.pop(0), failure)


def show(rows: "list[Figure | Failure]", options: "argparse.Namespace") -> None:
    """Print the answer on stdout, and on stderr which peers were not asked."""
    from benchmarks.figures import say
    from benchmarks.peers import absent
    from benchmarks.table import table

    missing = absent()
    if missing:
        say("Peers that are not installed: " + ", ".join(missing))
    if options.json:
        import json

        print(json.dumps([row.to_json() for row in rows], indent=1))
    else:
        print(table(rows, options.quick))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
