"""A folder with the program, Python and everything they need: made by PyInstaller, then tried as a stranger would."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from _environment import Environment
from _problems import SetupError, os_problem, say
from _uninstall import in_words, size_of

RECIPE = Path(__file__).with_name("bundle")
NAME = "qexplorer"
SAMPLE = "mobilenet_v2_digits.safetensors"
TRIALS = {  # the first that computes compiles the kernels
    "version": ["--version"],
    "analyze": ["analyze", SAMPLE, "--tensor", "features.18.0.weight", "--format", "int4", "--json"],
    "window": ["--screenshot", "window.png"],
    "job": ["run", "weight-only", "--weight-spec", "int4 channel", "--json"],
}


def bundle(environment: Environment, options: list[str]) -> int:
    """Make FOLDER/qexplorer and try it; an older one is replaced only by one that works.

    Returns 0, or 2 for wrong usage. Raises `SetupError` with the reason where it cannot be made or does not work.
    """
    if len(options) > 1 or (options[:1] and options[0].startswith("-")):
        say("--bundle takes one folder, e.g.: python3 scripts/launch.py --bundle dist")
        return 2
    target = Path(options[0] if options else environment.root / "dist").resolve()
    begun = time.monotonic()
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".bundle-", dir=target) as work:
            environment.prepare("bundle")
            made = _make(environment, Path(work))
            _try(made, Path(work))
            shutil.rmtree(target / NAME, ignore_errors=True)
            made.rename(target / NAME)
    except OSError as error:
        problem = os_problem(error, target)
        raise SetupError(problem.what, f"{problem.remedy} Another folder: --bundle FOLDER") from error
    say(f"{target / NAME}: {in_words(size_of(target / NAME))}, made and tried in {time.monotonic() - begun:.0f} s.")
    return 0


def _make(environment: Environment, work: Path) -> Path:
    say("Bundling (about 4 minutes of computing).")
    command = [str(environment.python), "-P", "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN", "--distpath",
               str(work / "dist"), "--workpath", str(work / "build"), str(RECIPE / "qexplorer.spec")]  # fmt: skip
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environ["PYINSTALLER_CONFIG_DIR"] = str(work / "config")
    answer = subprocess.run(command, cwd=work, env=environ, capture_output=True, encoding="utf-8", errors="replace",
                            check=False)  # fmt: skip
    if answer.returncode:
        raise SetupError(f"PyInstaller failed: {_end(answer.stderr)}", "Choose another Python, or report this.")
    made = work / "dist" / NAME
    for text in [*RECIPE.glob("*.txt"), environment.root / "LICENSE"]:
        shutil.copy(text, made)
    python = Path(sysconfig.get_path("stdlib")) / "LICENSE.txt"
    if python.exists():
        shutil.copy(python, made / "Python-LICENSE.txt")
    return made


def _try(made: Path, work: Path) -> None:
    """Run the bundle with an empty environment and a home of its own: nothing of this machine may be needed by it."""
    home = work / "home"
    home.mkdir()
    sample = next(made.rglob(SAMPLE))
    environ = {"HOME": str(home), "QT_QPA_PLATFORM": "offscreen"}
    if sys.platform == "win32":
        environ |= {"SYSTEMROOT": os.environ["SYSTEMROOT"], "USERPROFILE": str(home), "LOCALAPPDATA": str(home)}
    for name, words in TRIALS.items():
        begun = time.monotonic()
        command = [str(made / NAME), *(str(sample) if word == SAMPLE else word for word in words)]
        answer = subprocess.run(command, cwd=home, env=environ, capture_output=True, encoding="utf-8", errors="replace",
                                check=False)  # fmt: skip
        if answer.returncode:
            raise SetupError(f"The bundle does not work ({name}): {_end(answer.stderr)}", "Please report this.")
        say(f"Tried: {name} ({time.monotonic() - begun:.0f} s).")


def _end(text: str) -> str:
    return " / ".join([line.strip() for line in text.splitlines() if line.strip()][-3:]) or "it said nothing"
