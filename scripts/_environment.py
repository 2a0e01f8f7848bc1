"""The checkout's own `.venv`: made, installed into, and found ready again within milliseconds.

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

ROOT = Path(__file__).resolve().parent.parent
EXIT_CODE = 3  # what the platform check ends with, too: this machine cannot run the program as it is
INTERRUPTED = 130


class SetupError(Exception):
    """What keeps the environment from being made, `what`, and what the person can do about it, `remedy`."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} {remedy}")
        self.what = what
        self.remedy = remedy


class Environment:
    """The folder `.venv` of the checkout `root`, with the program installed as editable.

    A stamp in it names what it was made from: pyproject.toml, constraints.txt, its place, its interpreter and the
    extras. It is written last, and does not count while the mark of an unfinished install lies beside it; an install
    that ends without having touched anything takes its mark away again.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.python = self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.log = self.folder / "install.log"
        self._stamp = self.folder / "stamp.json"
        self._lock = self.folder / "lock"
        self._unfinished = self.folder / "unfinished"
        self._kept_open: tuple[int, ...] = ()

    def is_ready(self, extra: str = "") -> bool:
        """Whether everything is installed as pyproject.toml and constraints.txt now want it, `extra` included."""
        stamp = self._read_stamp()
        return (
            not self._unfinished.exists()
            and self._is_in_place(stamp)
            and stamp.get("inputs") == self.fingerprint()
            and {extra} <= {"", *stamp["extras"]}
        )

    def prepare(self, extra: str = "") -> None:
        """Make the environment ready, if it is not; raises `SetupError` with the reason where that fails."""
        try:
            if self.is_ready(extra):
                return
            if self.folder.is_symlink():  # what lies there is another checkout's: neither installed into nor emptied
                raise SetupError(
                    f"{self.folder} is a link to {self.folder.resolve()}, which may be the environment of another "
                    "checkout.",
                    "Remove the link, and start again: this checkout then gets an environment of its own.",
                )
            self.folder.mkdir(exist_ok=True)
            with self._locked():
                if not self.is_ready(extra):  # another start may have made it so while this one waited
                    self._install(extra)
        except OSError as error:
            raise os_problem(error, self.root) from error

    def fingerprint(self) -> str:
        """A hash of the files that decide what is installed."""
        files = (self.root / "pyproject.toml", self.root / "constraints.txt")
        return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()

    def write_stamp(self, extras: list[str]) -> None:
        """Vouch for the environment as it is now, in one step that cannot be seen half done."""
        text = json.dumps({**self._place(), "inputs": self.fingerprint(), "extras": extras})
        new = self._stamp.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(self._stamp)
        self._unfinished.unlink(missing_ok=True)

    def _read_stamp(self) -> dict[str, Any]:
        try:
            stamp = json.loads(self._stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

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
                say("Another start is installing into .venv; waiting for it to finish.")
                while not _try_lock(lock):
                    time.sleep(0.2)
            # pip holds the lock too, so that one that outlives a killed launcher still keeps others out.
            self._kept_open = (lock.fileno(),) if os.name == "posix" else ()
            try:
                yield
            finally:
                self._kept_open = ()

    def _install(self, extra: str) -> None:
        import time

        begun = time.monotonic()
        _check_c_library(self.root)
        stamp = self._read_stamp()
        whole = self._is_whole(stamp)
        self.log.write_text("", encoding="utf-8")
        if whole and stamp:
            say("Bringing .venv up to date with pyproject.toml and constraints.txt.")
        else:
            say("Installing PySide6, torch, numba and what they need into .venv (once, about 3 minutes).")
        if not whole:
            stamp = {}
            self._build()
        extras = sorted({extra, *stamp.get("extras", [])} - {""})
        self._pip_install(extras)
        self.write_stamp(extras)
        self._warm()
        say(f"Ready after {time.monotonic() - begun:.0f} s.")

    def _is_whole(self, stamp: dict[str, Any]) -> bool:
        """Whether what lies there can be installed into; where an install was cut off while it copied, it cannot."""
        import subprocess

        if self._unfinished.exists() or (stamp and not self._is_in_place(stamp)) or not self.python.exists():
            return False
        test = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
        try:
            return subprocess.run([self.python, "-c", test], capture_output=True, check=False).returncode == 0
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
        # Wheels only: a package that has none for this Python is then named at once, instead of failing to compile.
        command = [str(self.python), "-m", "pip", "install", "--only-binary", ":all:"]
        target = f".[{','.join(extras)}]" if extras else "."
        self._unfinished.touch()  # from here on the stamp vouches for nothing, however this ends
        if self._run([*command, "--constraint", "constraints.txt", "--editable", target]) == 0:
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

        with (
            self.log.open("a", encoding="utf-8") as log,
            subprocess.Popen(
                command,
                cwd=self.root,
                env=_pip_environ(),
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


def base_python() -> str:
    """The Python that this one stands on, which outlives `.venv` even when `.venv`'s own runs this."""
    return getattr(sys, "_base_executable", "") or sys.executable


def say(text: str) -> None:
    """One line for the person on stderr; after a click on the desktop, where nobody sees that, a notification too."""
    print(f"qexplorer: {text}", file=sys.stderr, flush=True)
    by_click = "XDG_ACTIVATION_TOKEN" in os.environ or "DESKTOP_STARTUP_ID" in os.environ
    if by_click and not sys.stderr.isatty():
        import shutil
        import subprocess

        if notify := shutil.which("notify-send"):
            subprocess.run([notify, "--icon=org.qexplorer.QExplorer", "qexplorer", text], check=False)


def diagnose(text: str, root: Path, log: Path) -> SetupError:
    """The reason why pip or venv failed, read from what they printed, `text`; `log` is where that is kept."""
    import re

    # pip ends with "No matching distribution" for a dead network too; only a list of versions proves an answer.
    refused = re.search(r"satisfies the requirement (\S+)[^\n]*\(from versions: (?!none)", text)
    if re.search(r"No space left on device|Disk quota exceeded|\[Errno 28\]|WinError 112", text):
        return _disk_full(root)
    if "ensurepip is not" in text:
        return no_venv()
    if re.search(r"Permission denied|Read-only file system|\[WinError 5\]", text):
        return SetupError(
            f"The install may not write: {_line_with(text, 'Permission denied|Read-only|WinError 5')}.",
            f"Give yourself the right to write in {root}, or copy the folder to a place of your own.",
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return SetupError(
            "The package index shows a certificate that this Python does not trust.",
            "Behind a proxy that inspects traffic, name its certificate: PIP_CERT=/path/to/ca.pem",
        )
    if not refused and re.search(_NO_NETWORK, text):
        return SetupError(
            "No network: pip cannot reach the package index.",
            "Check the connection (behind a proxy set HTTPS_PROXY, with a mirror PIP_INDEX_URL) and start again.",
        )
    missing = refused or re.search(
        r"No matching distribution found for (\S+)|user requested \(constraint\) (\S+)", text
    )
    if missing:
        return SetupError(
            f"There is no {missing.group(1) or missing.group(2)} for this Python {_version()} on this system.",
            "Use Python 3.11 to 3.14 (64-bit), and a package index that has it (PIP_INDEX_URL, PIP_NO_INDEX).",
        )
    last = [line.strip() for line in text.splitlines() if line.strip()][-3:]
    return SetupError(f"The install failed: {' / '.join(last) or 'it said nothing'}", f"(all of it: {log})")


def os_problem(error: OSError, root: Path) -> SetupError:
    """The reason why a file of the environment could not be written."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT) or getattr(error, "winerror", None) == 112:
        return _disk_full(root)
    if isinstance(error, FileExistsError | NotADirectoryError):
        return SetupError(f"{error.filename} is in the way: it is no folder.", "Move it to another place.")
    return SetupError(
        f"Cannot write {error.filename or root}: {error.strerror or error}.",
        f"Give yourself the right to write in {root}, or copy the folder to a place of your own.",
    )


def no_venv() -> SetupError:
    """This Python came without what makes environments."""
    import shutil

    own = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if shutil.which("apt-get"):
        remedy = f"Install it: sudo apt install python3-venv (or {own}, if this is not the system's own Python)"
    else:
        remedy = "Install your system's package with venv and ensurepip, or Python from https://www.python.org"
    return SetupError(f"This Python {_version()} has no venv module.", remedy)


_NO_NETWORK = (
    "Failed to establish a new connection|Temporary failure in name resolution|getaddrinfo failed"
    "|Name or service not known|nodename nor servname|Connection refused|Connection timed out|Read timed out"
    "|ConnectTimeoutError|Network is unreachable|Cannot connect to proxy|ProxyError|RemoteDisconnected"
    "|Connection reset by peer|Connection aborted|Max retries exceeded|NameResolutionError"
)


def _disk_full(root: Path) -> SetupError:
    import shutil
    import tempfile

    places = dict.fromkeys((root, Path(tempfile.gettempdir())))
    free = ", ".join(f"{shutil.disk_usage(place).free / 1e9:.1f} GB free in {place}" for place in places)
    return SetupError(
        f"The disk is full ({free}).",
        "Make room for about 2 GB (7 GB with torch for NVIDIA's GPUs), or set TMPDIR to a folder on a larger disk.",
    )


def _line_with(text: str, pattern: str) -> str:
    import re

    return next((line.strip().rstrip(".") for line in text.splitlines() if re.search(pattern, line)), "")


def _version() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _check_c_library(root: Path) -> None:
    """Raise where Linux is too old for Qt's wheels, before pip fails with a riddle."""
    sys.path.insert(0, str(root))
    try:
        from qexplorer.platform_check import glibc_problem
    finally:
        sys.path.remove(str(root))
    if problem := glibc_problem():
        raise SetupError(problem.what, problem.remedy)


def _pip_environ() -> dict[str, str]:
    # pip builds the editable install in an environment of its own and takes its constraints from these; the name is
    # relative, because pip would split a path at its spaces. A user's own `--user` habit breaks pip in an environment.
    return {
        **os.environ,
        "PIP_CONSTRAINT": "constraints.txt",
        "PIP_BUILD_CONSTRAINT": "constraints.txt",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_USER": "0",
        "PYTHONUTF8": "1",
    }


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
