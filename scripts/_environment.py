"""The checkout's own environment: made, installed into, mended, and found ready again within milliseconds.

Standard library only. What only an install needs is imported where it is used, because `is_ready` runs before every
start.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from _installed import is_unchanged
from _problems import SetupError, diagnose, listed, no_venv, os_problem, say

ROOT = Path(__file__).resolve().parent.parent


class Environment:
    """An environment with the program of the checkout `root` installed as editable; by default its folder `.venv`.

    A stamp in it names what it was made from: pyproject.toml, constraints.txt, its place, its interpreter and the
    extras; beside it lie the times of all installed folders, by which damage is noticed. Both are written last, and do
    not count while the mark of an unfinished install lies beside them; an install that ends without having touched
    anything takes its mark away again.
    """

    def __init__(self, root: Path = ROOT, folder: Path | None = None) -> None:
        self.root = root
        self.folder = folder or root / ".venv"
        self.python = self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.log = self.folder / "install.log"
        self._stamp = self.folder / "stamp.json"
        self._times = self.folder / "folders.json"
        self._lock = self.folder / "lock"
        self._unfinished = self.folder / "unfinished"
        self._kept_open: tuple[int, ...] = ()

    @property
    def site(self) -> Path:
        """The folder of the installed packages; it need not exist."""
        found = sorted(self.folder.glob("Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages"))
        return found[-1] if found else self.folder / "site-packages"

    def is_ready(self, extra: str = "") -> bool:
        """Whether everything is installed as pyproject.toml and constraints.txt now want it, `extra` included."""
        return not self.complaints(extra) and self._is_untouched()

    def complaints(self, extra: str = "") -> list[str]:
        """What its stamp says against this environment, a sentence each; the installed files are not looked at."""
        if not self.folder.is_dir():
            return [f"{self.folder} is not made yet."]
        if self._unfinished.exists():
            return ["An install was cut off."]
        stamp = self._read_stamp()
        if not self._is_in_place(stamp):
            return ["It was moved or never finished, or the Python that it was made with is gone."]
        if stamp.get("inputs") != self.fingerprint():
            return ["It is older than pyproject.toml or constraints.txt."]
        return [] if {extra} <= {"", *stamp["extras"]} else [f"The extra {extra} is not installed."]

    def damaged(self, *, read: bool = False) -> list[str]:
        """The installed distributions that lack files; with `read` also those of whose files one has other content."""
        from _installed import damaged

        return damaged(self.site, self._read_times(), read=read)

    def prepare(self, extra: str = "", *, repair: bool = False) -> None:
        """Make the environment ready, if it is not; raises `SetupError` with the reason where that fails.

        With `repair` every installed file is read, and what is not as it was installed is installed again.
        """
        try:
            if not repair and self.is_ready(extra):
                return
            if self.folder.is_symlink():  # what lies there is another checkout's: neither installed into nor emptied
                raise SetupError(
                    f"{self.folder} is a link to {self.folder.resolve()}, which may be the environment of another "
                    "checkout.",
                    "Remove the link, and start again: this checkout then gets an environment of its own.",
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                if repair or not self.is_ready(extra):  # another start may have made it so while this one waited
                    self._install(extra, self.damaged(read=repair))
        except OSError as error:
            raise os_problem(error, self.root) from error

    def fingerprint(self) -> str:
        """A hash of the files that decide what is installed."""
        files = (self.root / "pyproject.toml", self.root / "constraints.txt")
        return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()

    def write_stamp(self, extras: list[str]) -> None:
        """Vouch for the environment as it is now, in one step that cannot be seen half done."""
        from _installed import folder_times

        times = folder_times(self.site) if self.site.is_dir() else {}
        stamp = {**self._place(), "inputs": self.fingerprint(), "extras": extras}
        for path, content in ((self._times, times), (self._stamp, stamp)):
            new = path.with_suffix(".new")
            new.write_text(json.dumps(content), encoding="utf-8")
            new.replace(path)
        self._unfinished.unlink(missing_ok=True)

    def _is_untouched(self) -> bool:
        times = self._read_times()
        return is_unchanged(self.site, times) if times else not self.site.is_dir()

    def _read_times(self) -> dict[str, int]:
        return _read_json(self._times)

    def _read_stamp(self) -> dict[str, Any]:
        return _read_json(self._stamp)

    def _place(self) -> dict[str, str]:
        # An environment that was moved, or whose interpreter an upgrade of the system replaced, no longer works.
        return {"root": str(self.root), "python": os.path.realpath(self.python)}

    def _is_in_place(self, stamp: dict[str, Any]) -> bool:
        return self._place().items() <= stamp.items() and self.python.exists() and self._base_exists()

    def _base_exists(self) -> bool:
        """Whether the interpreter's own folder is there; on Windows `.venv` holds a mere pointer to it."""
        try:
            lines = (self.folder / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        settings = dict(line.split(" = ", 1) for line in lines if " = " in line)
        return Path(settings.get("home", "nowhere")).is_dir()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold this environment's lock. The system drops it when its holders end, so that it is never stale."""
        import time

        with self._lock.open("a+", encoding="utf-8") as lock:
            if not _try_lock(lock):
                say(f"Another start is installing into {self.folder}; waiting for it to finish.")
                while not _try_lock(lock):
                    time.sleep(0.2)
            # pip holds the lock too, so that one that outlives a killed launcher still keeps others out.
            self._kept_open = (lock.fileno(),) if os.name == "posix" else ()
            try:
                yield
            finally:
                self._kept_open = ()

    def _install(self, extra: str, damaged: list[str]) -> None:
        import time

        from _installed import forget

        begun = time.monotonic()
        stamp = self._read_stamp()
        if not damaged and not self.complaints(extra):
            self.write_stamp(stamp["extras"])  # files came, and none that was installed is gone
            return
        _check_c_library(self.root)
        whole = self._is_whole() and "pip" not in damaged
        self.log.write_text("", encoding="utf-8")
        if not whole:
            say(f"Installing PySide6, torch, numba and what they need into {self.folder} (once, about 3 minutes).")
            stamp = {}
            self._build()
        elif damaged:
            say(f"Files of {listed(damaged)} in {self.folder} are missing or damaged; installing them again.")
            forget(self.site, damaged)
        else:
            say(f"Bringing {self.folder} up to date with pyproject.toml and constraints.txt.")
        extras = sorted({extra, *stamp.get("extras", [])} - {""})
        self._pip_install(extras)
        self.write_stamp(extras)
        self._warm()
        say(f"Ready after {time.monotonic() - begun:.0f} s.")

    def _is_whole(self) -> bool:
        """Whether what lies there can be installed into; where an install was cut off while it copied, it cannot.

        One that was moved with its checkout can, if its Python still runs.
        """
        import subprocess

        if self._unfinished.exists() or not self.python.exists():
            return False
        test = (
            "import os, pip, sys; sys.exit(sys.version_info < (3, 11) or not os.path.samefile(sys.prefix, sys.argv[1]))"
        )
        try:
            command = [self.python, "-c", test, self.folder]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            return False

    def _build(self) -> None:
        import importlib.util
        import shutil

        for module in ("venv", "ensurepip"):
            if importlib.util.find_spec(module) is None:
                raise no_venv()
        for entry in self.folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry not in (self._lock, self.log):
                entry.unlink()
        if self._run([base_python(), "-m", "venv", str(self.folder)]):
            raise diagnose(self._log_text(), self.root, self.log)

    def _pip_install(self, extras: list[str]) -> None:
        import _pip

        self._unfinished.touch()  # from here on the stamp vouches for nothing, however this ends
        if self._run(_pip.install(self.python, extras)) == 0:
            return
        text = self._log_text()
        if "Installing collected packages" not in text:  # nothing was touched, so what was there is still whole
            self._unfinished.unlink()
        raise diagnose(text, self.root, self.log)

    def _warm(self) -> None:
        if not (self.root / "qexplorer" / "quant" / "warm.py").exists():
            return
        say("Compiling the kernels (once).")
        if self._run([str(self.python), "-m", "qexplorer.quant.warm"]):
            say(f"That failed, see {self.log}; they are compiled when they are first used.")

    def _log_text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def _run(self, command: list[str]) -> int:
        """Run `command`, its output into the log and a glimpse of it on a terminal; its exit status."""
        import subprocess

        import _pip

        with (
            self.log.open("a", encoding="utf-8") as log,
            subprocess.Popen(
                command,
                cwd=self.root,
                env=_pip.environ(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                pass_fds=self._kept_open,
            ) as process,
        ):
            for line in process.stdout or ():
                log.write(line)
                log.flush()
                _glimpse(line.strip())
            _glimpse("")
        return process.returncode


def chosen(extra: str = "", root: Path = ROOT) -> Environment:
    """The environment for the checkout `root`: its `.venv`, or one among the person's data where it may not be made."""
    own = Environment(root)
    if os.access(own.folder if own.folder.exists() else root, os.W_OK) or own.is_ready(extra):
        return own
    from _folders import environments

    name = hashlib.sha256(str(root).encode()).hexdigest()[:12]
    return Environment(root, environments() / name)


def base_python() -> str:
    """The Python that this one stands on, which outlives `.venv` even when `.venv`'s own runs this."""
    return getattr(sys, "_base_executable", "") or sys.executable


def _check_c_library(root: Path) -> None:
    """Raise where Linux is too old for Qt's wheels, before pip fails with a riddle."""
    sys.path.insert(0, str(root))
    try:
        from qexplorer.platform_check import glibc_problem
    finally:
        sys.path.remove(str(root))
    if problem := glibc_problem():
        raise SetupError(problem.what, problem.remedy)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _try_lock(file: IO[str]) -> bool:
    """Take the lock on `file`, if nobody has it; a file system that knows no locks counts as taken."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _glimpse(line: str) -> None:
    """Show what pip is doing in the terminal's last line, in place of the line before; empty clears it."""
    import shutil

    if sys.stderr.isatty() and (not line or line.startswith(("Collecting", "Downloading", "Installing"))):
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r{'  ' + line if line else '':<{width}.{width}}\r")
        sys.stderr.flush()
