import re
import subprocess
import sys
from pathlib import Path

import pytest

import qexplorer.engine

PACKAGE = Path(qexplorer.engine.__file__).parent.parent
ROOMS = ("advice", "backends", "datasets", "jobs", "measuring", "models", "repair", "runs")
"""Those of whose modules none imports torch at once; the others are imported where they are used."""


def test_the_engine_is_imported_without_torch_or_qt() -> None:
    modules = [f"{room}.{path.stem}" for room in ROOMS for path in (PACKAGE / "engine" / room).glob("[a-z]*.py")]
    imports = "".join(f"import qexplorer.engine.{module}\n" for module in (*ROOMS, *modules))
    check = "import sys; print([m for m in ('torch', 'PySide6') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", imports + check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", sorted(p.stem for p in (PACKAGE / "engine" / "jobs").glob("[a-z]*.py")))
def test_any_job_may_be_imported_first(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import qexplorer.engine.jobs.{module}"], check=True)


def test_the_deprecated_library_is_used_in_one_file() -> None:
    uses = re.compile(r"^\s*(from|import) torch\.ao|torch\.ao\.[a-z]+\.", re.MULTILINE)
    found = [path.name for path in PACKAGE.rglob("*.py") if uses.search(path.read_text(encoding="utf-8"))]
    assert found == ["torch_ao.py"]


def test_no_other_file_of_the_engine_even_names_it() -> None:
    engine = PACKAGE / "engine"
    assert [p.name for p in engine.rglob("*.py") if "torch.ao" in p.read_text(encoding="utf-8")] == ["torch_ao.py"]
