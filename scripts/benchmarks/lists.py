"""Opening what is large: a checkpoint of very many tensors, and one of very many bytes, until the list is painted."""

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEventLoop, QTimer
from safetensors import safe_open

from qexplorer.app import first_state
from qexplorer.main_window import MainWindow
from qexplorer.panels.weights import WeightsPanel
from qexplorer.weights import Checkpoint
from qexplorer.widgets.tensor_tree import TensorTree

from . import data
from .checkpoints import write_many, write_sparse
from .figures import DifferenceError, Figure, at_most, say
from .painted import Painted
from .windows import shown_window, wait
from .workers import run_worker

TENSORS, SPARSE_BYTES = 300_000, 10_000_000_000
SHRINK = 16
LIMITS_S = {"list-tensors": 3.0, "list-sparse": 0.1}
PEER = "safetensors.safe_open: names, types and shapes; nothing shown"


def measure(names: Sequence[str], quick: bool) -> Iterator[Figure]:
    """The figures of these names."""
    with tempfile.TemporaryDirectory(prefix="qexplorer-benchmark-") as folder:
        for name in names:
            path = Path(folder, f"{name}.safetensors")
            say(f"opening {path.name}")
            work = _make(name, path, SHRINK if quick else 1)
            found = run_worker("lists", path=str(path), quick=quick)
            limit = LIMITS_S[name]
            text = f"<= {limit:g} s" if limit >= 1 else f"<= {limit * 1000:g} ms"
            yield Figure(
                name=name,
                work=f"{work}: opened -> list painted",
                ours_s=found["ours_s"],
                peer=PEER,
                peer_s=found["peer_s"],
                limit=text.removeprefix("<= "),
                limit_s=limit,
                runs=data.runs(quick),
                bars=(at_most(text, found["ours_s"], limit),),
                note=f"slowest {found['max_s'] * 1000:.0f} ms",
                more={"max_s": found["max_s"]},
            )


def _make(name: str, path: Path, shrink: int) -> str:
    if name == "list-tensors":
        write_many(path, TENSORS // shrink)
        return f"a checkpoint of {TENSORS // shrink:,} tensors"
    write_sparse(path, SPARSE_BYTES // shrink)
    return f"a sparse file of {path.stat().st_size / 1e9:.3g} GB"


def work(path: str, quick: bool) -> dict[str, float]:
    """The worker: a window opens the file and the sample in turn; in between the peer lists the same file."""
    ours: list[float] = []
    peer: list[float] = []
    with shown_window(first_state()) as window:
        for i in range(data.runs(quick) + 1):
            taken = _opened(window, path)
            window.open_sample()
            wait(lambda: window.settled)
            began = time.perf_counter()
            theirs = _listed(path)
            peer_taken = time.perf_counter() - began
            if not i:
                _require_same_list(window, path, theirs)
                continue
            ours.append(taken)
            peer.append(peer_taken)
    return {"ours_s": statistics.median(ours), "max_s": max(ours), "peer_s": statistics.median(peer)}


def _opened(window: MainWindow, path: str) -> float:
    """Seconds from opening a file until its tensors are painted."""
    tree = window.panel(WeightsPanel).findChild(TensorTree)
    if tree is None:
        raise LookupError("the window has no list of tensors")
    loop, opened = QEventLoop(), list[Checkpoint]()
    watch = Painted(tree.viewport(), lambda: bool(opened))
    watch.happened.connect(loop.quit)
    window.preview.opened.connect(opened.append)
    QTimer.singleShot(0, lambda: window.open_path(path))
    began = time.perf_counter()
    loop.exec()
    taken = time.perf_counter() - began
    window.preview.opened.disconnect(opened.append)
    watch.deleteLater()
    return taken


def _listed(path: str) -> list[tuple[str, tuple[int, ...]]]:
    with safe_open(path, "np") as file:
        found: list[tuple[str, tuple[int, ...]]] = []
        for name in file.keys():  # noqa: SIM118  it is no mapping
            part: Any = file.get_slice(name)
            part.get_dtype()
            found.append((name, tuple(part.get_shape())))
        return found


def _require_same_list(window: MainWindow, path: str, theirs: list[tuple[str, tuple[int, ...]]]) -> None:
    _opened(window, path)
    checkpoint = window.preview.checkpoint
    ours = [(tensor.name, tensor.shape) for tensor in checkpoint.tensors] if checkpoint else []
    if sorted(ours) != sorted(theirs):
        raise DifferenceError(f"safetensors.safe_open: it lists {len(theirs)} tensors, ours {len(ours)}, or others")
    window.open_sample()
    wait(lambda: window.settled)
