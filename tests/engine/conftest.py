import os
from pathlib import Path

import pytest

from qexplorer.engine.history import History

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history.sqlite3")


@pytest.fixture(scope="session")
def mnist() -> Path:
    """The folder of real MNIST files, where there is one."""
    named = os.environ.get("QEXPLORER_MNIST")
    folder = Path(named) if named else ROOT.parent / "shared" / "data" / "mnist-8000"
    if not folder.is_dir():
        pytest.skip(f"no MNIST files: QEXPLORER_MNIST is not set and there is no {folder}")
    return folder
