"""The log: what was done and what went wrong. Each process has files of its own, so two windows never share one.

Nothing in it leaves the machine by itself. A crash of Qt or of a native library leaves a stack in a file beside the
log, which the next start finds.
"""

import faulthandler
import io
import logging
import os
import secrets
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

try:
    import fcntl
except ImportError:  # Windows, where no file can be renamed that a process has open
    fcntl = None

log = logging.getLogger("qexplorer")
log.addHandler(logging.NullHandler())  # or logging writes to stderr what nobody keeps
actions = logging.getLogger("qexplorer.actions")
"""What the person did, without the names of tensors and without folders."""
prints = logging.getLogger("qexplorer.prints")
"""What a model's code prints. It stays in the file and out of every report."""

LOG_BYTES = 1_000_000
KEPT = 20
"""So many logs of earlier processes are kept."""
ACTIONS = 60
LINE = 400
"""So many characters of a line are kept."""
REPORT_CHARACTERS = 20_000
FORMAT = "%(asctime)s %(levelname)s %(message)s"


class Recent(logging.Handler):
    """Holds what a report needs: the last actions, and the last error in full."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=ACTIONS)
        self.error = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == prints.name:
            return
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self.error = text[-REPORT_CHARACTERS:]
            text = text.rstrip().rpartition("\n")[2]
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        self.lines.append(f"{at} {text}"[:LINE])


recent = Recent()


class Prints(io.TextIOBase):
    """A stdout that hands everything on to `stream`, where there is one, and each line to the log."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream, self._line = stream, ""

    def write(self, text: str, /) -> int:
        if self._stream is not None:
            self._stream.write(text)
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            prints.info("print: %s", line[:LINE])
        self._line = self._line[:LINE]
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._stream.encoding if self._stream is not None else "utf-8"

    def __getattr__(self, name: str) -> Any:
        """What models' code may use beside these, such as `buffer`."""
        return getattr(self._stream, name)


class LogFile(RotatingFileHandler):
    """A full disk ends the log, and nothing else."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        del record


@contextmanager
def logged(folder: Path) -> Iterator[Path]:
    """Inside, the log is written to files in `folder`, whose paths begin with the one that is given here."""
    base = folder / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}-{secrets.token_hex(2)}"
    before = log.level, log.propagate
    file = LogFile(f"{base}.log", maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8", delay=True,
                   errors="backslashreplace")  # fmt: skip
    file.setFormatter(logging.Formatter(FORMAT))
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        _forget_old(folder)
    handlers: list[logging.Handler] = [file, recent] if folder.is_dir() else [recent]
    for handler in handlers:
        log.addHandler(handler)
    log.propagate = False
    log.setLevel(logging.INFO)
    try:
        yield base
    finally:
        for handler in handlers:
            log.removeHandler(handler)
        file.close()
        log.level, log.propagate = before


def _forget_old(folder: Path) -> None:
    by_process = sorted({path.name.partition(".")[0] for path in folder.glob("*.log*")})
    for name in by_process[:-KEPT]:
        for path in folder.glob(f"{name}.log*"):
            path.unlink(missing_ok=True)


@contextmanager
def stack_of_crash(base: Path) -> Iterator[None]:
    """Inside, a crash leaves the stacks of all threads in the file `base`.crash; an orderly end leaves nothing."""
    path = Path(f"{base}.crash")
    try:
        file = path.open("w", encoding="utf-8")
    except OSError:  # a full or read-only disk: then on stderr, where there is one
        with suppress(RuntimeError, ValueError):
            faulthandler.enable()
        yield
        return
    with file:
        if fcntl is not None:
            with suppress(OSError):  # some network file systems have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
        faulthandler.enable(file)
        try:
            yield
        finally:
            faulthandler.disable()
    with suppress(OSError):
        path.unlink()


@dataclass(frozen=True)
class Crash:
    """What a process that crashed has left: its stacks, and what had been done."""

    stack: str
    lines: tuple[str, ...] = field(default=())

    @property
    def text(self) -> str:
        """All of it, for a report."""
        done = "\n".join(("Last actions before the crash:", *self.lines)) if self.lines else ""
        return f"{self.stack.strip()}\n\n{done}".strip()


def take_crash(folder: Path) -> Crash | None:
    """The newest crash of a process that has left a stack in `folder`; each is given out once.

    What processes left that were killed or lost their power is empty, and is removed without a word.
    """
    found: Crash | None = None
    with suppress(OSError):
        for path in sorted(folder.glob("*.crash")):
            with suppress(OSError):
                stack = _claimed(path)
                if stack.strip():
                    found = Crash(stack, _last_actions(path.with_suffix(".log")))
    return found


def _claimed(path: Path) -> str:
    """What is in the file of a process that is gone, which is removed. `OSError` where it still runs."""
    with path.open(encoding="utf-8", errors="replace") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        stack = file.read(REPORT_CHARACTERS)
    path.unlink()  # of two that start at once, the other finds nothing; refused on Windows while its process runs
    return stack


def _last_actions(path: Path) -> tuple[str, ...]:
    with suppress(OSError):
        lines = path.read_text("utf-8", errors="replace").splitlines()
        return tuple(line[:LINE] for line in lines if " INFO print: " not in line)[-ACTIONS // 2 :]
    return ()
