"""Work in the foreground: a generator stepped with a bar on stderr, which Ctrl-C ends whatever a model's code does.

The generator runs on a thread of its own, so that the main thread, where Python handles signals, always answers.
"""

import contextvars
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Generic, TypeVar

from qexplorer.log import Prints
from qexplorer.progress import Progress, Steps, TimeLeft, finish

T = TypeVar("T")

PATIENCE_S = 3.5
"""So long after Ctrl-C the step at hand may take: importing a library is not cut off, a model that hangs is."""
NOTE_S = 1.0
"""So long the note in the run history may take then."""
TICK_S = 0.1
CANCELLED = 130
GUARD = """
import os, signal, sys, time
parent, pipe, patience = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
while (got := os.read(pipe, 1)) and got[0] != signal.SIGINT:
    pass
if got:
    time.sleep(patience)
    if os.getppid() == parent:
        os.kill(parent, signal.SIGKILL)
"""
"""Waits for the byte that Python's C handler writes at Ctrl-C, and ends its parent where that has not ended by itself.
For code that never gives Python's lock back: nothing else in the process can act then.
"""


def work(steps: Steps[T], *, leave: Callable[[int], object] | None = None, patience_s: float = PATIENCE_S) -> T:
    """Run a generator, with a bar on stderr where that is a terminal.

    Ctrl-C is honoured at the next step, so that it hits no library in the middle of its import. Where that does not
    come, or at a second Ctrl-C, the process ends with 130. `leave`, which whoever runs a model's code gives, is called
    before that, with the number of the thread that is stuck.
    """
    bar = Bar() if sys.stderr.isatty() else None
    if threading.current_thread() is not threading.main_thread():
        return finish(steps, bar)
    asked: list[float] = []

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        asked.append(time.monotonic())

    before = signal.signal(signal.SIGINT, on_interrupt)
    worker = _Worker(steps, bar, asked)
    try:
        with _guarded(patience_s + NOTE_S if leave else 0.0), _others_on_stderr():
            thread = threading.Thread(
                target=contextvars.copy_context().run, args=(worker.run,), name="work", daemon=True
            )
            thread.start()
            while not worker.ended.wait(TICK_S):
                if len(asked) > 1 or (asked and time.monotonic() - asked[0] > patience_s):
                    _leave(leave, thread.ident or 0)
            thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
        if bar is not None:
            bar.clear()
    return worker.outcome()


@dataclass
class _Worker(Generic[T]):
    """Steps a generator on whatever thread calls `run`, and keeps how it ended."""

    steps: Steps[T]
    bar: "Bar | None"
    asked: list[float]
    ended: threading.Event = field(default_factory=threading.Event)
    results: list[T] = field(default_factory=list[T])
    error: BaseException | None = None

    def run(self) -> None:
        try:
            self.results.append(finish(self.steps, self._report))
        except BaseException as error:  # noqa: BLE001  raised again by `outcome`
            self.error = error
        finally:
            self.ended.set()

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        return self.results[0]

    def _report(self, progress: Progress) -> None:
        if self.asked:
            raise KeyboardInterrupt
        if self.bar is not None:
            self.bar(progress)


def _leave(leave: Callable[[int], object] | None, stuck: int) -> None:
    if leave is not None:
        note = threading.Thread(target=leave, args=(stuck,), daemon=True)
        note.start()
        note.join(NOTE_S)
    with suppress(OSError):
        os.write(2, b"\nqexplorer: cancelled; the step at hand was cut off.\n")
    os._exit(CANCELLED)


@contextmanager
def _guarded(patience_s: float) -> Iterator[None]:
    """Inside, another process sees to it that Ctrl-C ends this one; see `GUARD`.

    Windows has no such signals, and a bundle no other Python.
    """
    if sys.platform == "win32" or not patience_s or getattr(sys, "frozen", False):
        yield
        return
    pipe, own = os.pipe()
    os.set_blocking(own, False)
    command = [sys.executable, "-I", "-S", "-c", GUARD, str(os.getpid()), str(pipe), str(patience_s)]
    guard, before = None, signal.set_wakeup_fd(own, warn_on_full_buffer=False)
    try:
        with suppress(OSError):  # where no process can be started, there is one guard less
            guard = subprocess.Popen(command, pass_fds=(pipe,), start_new_session=True, stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        yield
    finally:
        signal.set_wakeup_fd(before)
        if guard is not None:
            guard.kill()
            guard.wait()
        os.close(pipe)
        os.close(own)


@contextmanager
def _others_on_stderr() -> Iterator[None]:
    """Inside, whatever a model or a library writes to stdout goes to stderr: stdout is for the command's own answer."""
    sys.stdout.flush()
    own = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(Prints(sys.stderr)):
            yield
    finally:
        with suppress(Exception):  # what C code has written, but not yet sent; Windows has no such name
            ctypes.CDLL(None).fflush(None)
        os.dup2(own, 1)
        os.close(own)


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
