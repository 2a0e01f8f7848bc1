"""Check everything: `python3 scripts/test.py [PYTEST_ARGUMENT ...]`.

Makes the same `.venv` as scripts/launch.py with the test extra, then runs the linters, the type checker, the import
contracts and the tests, all of them even when one fails, and ends with a table. Standard library only; the syntax is
that of Python 3.6 for the reason given in launch.py.
"""

import os
import sys

from launch import require_python

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _environment import Environment


PARALLEL = ("-n", "logical", "--maxprocesses", "4")


def main(arguments: "list[str]") -> int:
    """Prepare and run every step; 0 when all of them passed, 1 when one failed, 3 when they could not run."""
    require_python(sys.version_info)
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    import tempfile

    from _environment import chosen
    from _problems import EXIT_CODE, INTERRUPTED, SetupError, say

    environment = chosen("test")
    try:
        environment.prepare("test")
        with tempfile.TemporaryDirectory(prefix="qexplorer-test-", ignore_cleanup_errors=True) as home:
            environ = isolated(home)
            if not qt_starts(environment, environ):
                return EXIT_CODE
            return run_steps(environment, steps(environment, arguments), environ)
    except SetupError as error:
        say(str(error))
        return EXIT_CODE
    except KeyboardInterrupt:
        say("Interrupted.")
        return INTERRUPTED


def steps(environment: "Environment", arguments: "list[str]") -> "dict[str, list[str]]":
    """Every check's name and command; `arguments` go to pytest, which takes the processors that there are."""
    python = str(environment.python)
    contracts = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return {
        "ruff check": [python, "-m", "ruff", "check", "."],
        "ruff format": [python, "-m", "ruff", "format", "--check", "."],
        "pyright": [python, "-m", "pyright"],
        "import-linter": [python, "-c", contracts],
        "pytest": [python, "-m", "pytest", *PARALLEL, *arguments],
    }


def isolated(home: str) -> "dict[str, str]":
    """This process's environment, but for a Qt that draws on no screen and the user's folders, which lie in `home`.

    Tests that run side by side do not also share their processors out among threads.
    """
    from pathlib import Path

    kinds = ("data", "state", "config", "cache")
    folders = {f"XDG_{kind.upper()}_HOME": str(Path(home, kind)) for kind in kinds}
    return {**os.environ, **folders, "QT_QPA_PLATFORM": "offscreen", "OMP_NUM_THREADS": "1"}


def run_steps(environment: "Environment", commands: "dict[str, list[str]]", environ: "dict[str, str]") -> int:
    """Run every command, one after the other, with `environ` for the tests, and print a table of them."""
    import subprocess
    import time

    rows = []
    for name, command in commands.items():
        print(f"\n=== {name}", flush=True)
        begun = time.monotonic()
        # The checkers keep their own environment: what they cache serves them the next time.
        own = environ if name == "pytest" else None
        status = subprocess.run(command, cwd=str(environment.root), env=own, check=False).returncode
        rows.append((name, status == 0, time.monotonic() - begun))
    print(f"\n{'step':<16}{'result':<10}{'seconds':>8}")
    for name, passed, seconds in rows:
        print(f"{name:<16}{'ok' if passed else 'FAILED':<10}{seconds:>8.1f}")
    return 0 if all(passed for _, passed, _ in rows) else 1


def qt_starts(environment: "Environment", environ: "dict[str, str]") -> bool:
    """Whether Qt can start without a screen; root of a Debian-like machine gets the libraries that it lacks."""
    import shutil
    import subprocess

    from _problems import say

    def check(*options: str) -> "subprocess.CompletedProcess[str]":
        command = [str(environment.python), "-m", "qexplorer.platform_check", *options]
        return subprocess.run(
            command, cwd=str(environment.root), env=environ, stdout=subprocess.PIPE, encoding="utf-8", check=False
        )

    packages = check("--packages").stdout.split()
    if packages and shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        say(f"Qt needs system libraries; installing {' '.join(packages)} with apt-get.")
        quiet = {**environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=False)
        subprocess.run(["apt-get", "install", "-qq", "--no-install-recommends", *packages], env=quiet, check=False)
    return check().returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
