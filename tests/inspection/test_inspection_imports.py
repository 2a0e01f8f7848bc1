import subprocess
import sys

import pytest

import qexplorer.inspection
from qexplorer.inspection import __path__ as folder


def modules() -> list[str]:
    import pkgutil

    return [f"qexplorer.inspection.{module.name}" for module in pkgutil.iter_modules(folder)]


@pytest.mark.parametrize("module", [qexplorer.inspection.__name__, *modules()])
def test_a_file_is_inspected_without_torch_or_qt(module: str) -> None:
    check = f"import {module}, sys; print([m for m in ('torch', 'PySide6', 'pyqtgraph', 'numba') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
