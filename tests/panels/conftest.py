"""What the tests of panels share: a small file, and a scan that is slow or has to be asked for."""

from pathlib import Path

import numpy as np
import pytest
from layers_by_hand import Gate

from qexplorer.state import layer_scan


@pytest.fixture
def file(tmp_path: Path) -> str:
    rng = np.random.default_rng(5)
    np.savez(
        tmp_path / "w.npz",
        first=rng.normal(0, 0.1, (24, 160)).astype(np.float32),
        second=rng.laplace(0, 0.1, (16, 96)).astype(np.float32),
        third=rng.uniform(-1, 1, (8, 64)).astype(np.float32),
        counter=np.arange(5),
    )
    return str(tmp_path / "w.npz")


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file counts as a large one, which is scanned only when it is asked for."""
    monkeypatch.setattr(layer_scan, "SCAN_LIMIT", 0)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)
