"""Headless commands: one file each, with `EXAMPLES`, `add_arguments(parser)` and `run(args)`.

What the options do not need is imported in functions, so that `--help` and mistyped arguments are answered at once.
"""

import ctypes
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from types import FrameType
from typing import Any, TypeVar

from qexplorer.progress import Progress, Steps, TimeLeft, finish

T = TypeVar("T")


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


@contextmanager
def _others_on_stderr() -> Iterator[None]:
    """Inside, whatever a model or a library writes to stdout goes to stderr: stdout is for the command's own answer."""
    sys.stdout.flush()
    own = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        with suppress(Exception):  # what C code has written, but not yet sent; Windows has no such name
            ctypes.CDLL(None).fflush(None)
        os.dup2(own, 1)
        os.close(own)


def work(steps: Steps[T]) -> T:
    """Run a generator, with a bar on stderr where that is a terminal.

    Ctrl-C is honoured at the next step, so that it hits no library in the middle of its import; twice is at once.
    """
    bar = Bar() if sys.stderr.isatty() else None
    asked: list[int] = []

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    def report(progress: Progress) -> None:
        if asked:
            raise KeyboardInterrupt
        if bar is not None:
            bar(progress)

    if threading.current_thread() is not threading.main_thread():
        return finish(steps, report)
    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        with _others_on_stderr():
            return finish(steps, report)
    finally:
        signal.signal(signal.SIGINT, before)
        if bar is not None:
            bar.clear()


class Bar:
    """A progress bar on one line, redrawn at most ten times a second."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._left = TimeLeft()

    def clear(self) -> None:
        """Leave an empty line."""
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()

    def __call__(self, progress: Progress) -> None:
        self._left.note(progress)
        now = time.monotonic()
        if now - self._last < 0.1:
            return
        self._last = now
        share = progress.fraction or 0.0
        filled, left = round(share * 24), self._left.seconds
        tail = f"  {left:.0f} s left" if left is not None else ""
        sys.stderr.write(f"\r\033[K{'█' * filled}{'░' * (24 - filled)} {share:4.0%}  {progress}{tail}\r")
        sys.stderr.flush()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value
