"""What the tests of this room share; torch is imported only by fixtures that need it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qexplorer.engine.runs.history import History

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


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Two threads take longer for small nets where something else runs beside them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def traced() -> Any:
    """`Net` made ready: traced, with both norms folded."""
    from small_nets import Net, randn, settled

    from qexplorer.engine.simulation.prepared import prepare

    found = prepare(settled(Net()), randn(2, 2, 8, 8))
    assert found.traced
    assert found.folded == 2
    return found


@pytest.fixture(scope="module")
def hooked() -> Any:
    """`Net` where it does not trace."""
    from small_nets import Net, randn, settled

    from qexplorer.engine.simulation.prepared import prepare

    found = prepare(settled(Net(branches=True)), randn(2, 2, 8, 8))
    assert not found.traced
    return found
