"""What the tests of studies share."""

from pathlib import Path

import pytest

from qexplorer.engine.runs.history import History


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history.sqlite3")
