"""Headless commands: one file each, with `EXAMPLES`, `add_arguments(parser)` and `run(args)`.

What the options do not need is imported in functions, so that `--help` and mistyped arguments are answered at once.
"""

import json
import math
import sys
from collections.abc import Sequence
from typing import Any


def say(text: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(text + "\n")


def warn(text: str) -> None:
    """Write a line to stderr, beside what a command answers."""
    sys.stderr.write(text + "\n")


def say_json(document: Any) -> None:
    """Write one JSON document to stdout; numbers that JSON lacks become the strings "inf", "-inf" and "nan"."""
    say(json.dumps(_plain(document), indent=1, allow_nan=False))


def say_table(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Write columns; those in `right` are flush right."""
    widths = [max(len(row[i]) for row in (titles, *rows)) for i in range(len(titles))]
    for row in (titles, *rows):
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        say("  ".join(cells).rstrip())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value
