"""What can keep the environment from being made, in one sentence each, with what the person can do about it."""

import os
import sys
from pathlib import Path

EXIT_CODE = 3  # what the platform check ends with, too: this machine cannot run the program as it is
INTERRUPTED = 130
MOST_NAMED = 6


class SetupError(Exception):
    """What keeps the environment from being made, `what`, and what the person can do about it, `remedy`."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} {remedy}")
        self.what = what
        self.remedy = remedy


def say(text: str) -> None:
    """One line for the person on stderr; after a click on the desktop, where nobody sees that, a notification too."""
    print(f"qexplorer: {text}", file=sys.stderr, flush=True)
    by_click = "XDG_ACTIVATION_TOKEN" in os.environ or "DESKTOP_STARTUP_ID" in os.environ
    if by_click and not sys.stderr.isatty():
        import shutil
        import subprocess

        if notify := shutil.which("notify-send"):
            subprocess.run([notify, "--icon=org.qexplorer.QExplorer", "qexplorer", text], check=False)


def listed(names: list[str]) -> str:
    """Names for a sentence: all of a few, the first of many."""
    return ", ".join(names) if len(names) <= MOST_NAMED else f"{', '.join(names[:3])} and {len(names) - 3} others"


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
    if missing and os.environ.get("PIP_NO_INDEX"):
        return SetupError(
            f"{missing.group(1) or missing.group(2)} is not among the wheels at hand, and --offline uses no network.",
            "Fill the folder “wheels” on a like machine: "
            "python3 -m pip download -d wheels -c constraints.txt . hatchling editables",
        )
    if missing:
        return SetupError(
            f"There is no {missing.group(1) or missing.group(2)} for this Python {_version()} on this system.",
            "Use Python 3.11 to 3.14 (64-bit), and an index that has it and is reached (PIP_INDEX_URL, HTTPS_PROXY).",
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
