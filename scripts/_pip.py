"""How pip is called: a person's proxy, mirror and certificates reach it; habits that break an environment do not."""

import os
from pathlib import Path

CONSTRAINTS = "constraints.txt"  # relative to the checkout: pip would split a path at its spaces
# These would put packages in another place than `.venv`, install half of them, or show pip those of another Python.
MISLEADING = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_DRY_RUN", "PIP_NO_DEPS", "PIP_PYTHON", "PYTHONHOME",
              "PYTHONPATH")  # fmt: skip
# pip runs in the checkout, so what these name is found from the folder in which the person named it.
FILES = ("PIP_CERT", "PIP_CLIENT_CERT", "PIP_CONFIG_FILE", "PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT", "PIP_FIND_LINKS")
WHEELS = "wheels"


def install(python: Path, extras: list[str]) -> list[str]:
    """The command that installs the checkout in the current folder, as editable, with its `extras`.

    Wheels only: a package that has none for this Python is then named at once, instead of failing to compile.
    """
    target = f".[{','.join(extras)}]" if extras else "."
    options = ["--only-binary", ":all:", "--constraint", CONSTRAINTS]
    return [str(python), "-m", "pip", "install", *options, "--editable", target]


def environ() -> dict[str, str]:
    """The process's environment, made fit for pip.

    pip builds the editable install in an environment of its own and takes that one's constraints from here.
    """
    own = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    own |= {name: _from_here(own[name]) for name in FILES if name in own}
    constraints = {
        name: " ".join([CONSTRAINTS, *own.get(name, "").split()]) for name in ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT")
    }
    fixed = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_USER": "0", "PYTHONUTF8": "1"}
    return {**own, **constraints, **fixed}


def go_offline(root: Path) -> None:
    """Let this process and those that it starts install from wheels at hand only, those in `root`/wheels among them."""
    os.environ["PIP_NO_INDEX"] = "1"
    wheels = root / WHEELS
    if wheels.is_dir():
        links = [*os.environ.get("PIP_FIND_LINKS", "").split(), wheels.as_uri()]
        os.environ["PIP_FIND_LINKS"] = " ".join(links)


def _from_here(value: str) -> str:
    """The value with the files that it names, one or several, by their absolute paths."""
    if value and Path(value).exists():
        return str(Path(value).resolve())
    return " ".join(str(Path(word).resolve()) if Path(word).exists() else word for word in value.split())
