"""A whole checkpoint under one scheme: how fast, against other software, and in how much memory."""

import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from safetensors import safe_open

from qexplorer.inspection.analyses import Analyses
from qexplorer.inspection.scan import Scan
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec
from qexplorer.quant.recipe import Recipe
from qexplorer.weights import open_checkpoint

from . import data
from .checkpoints import write_scan
from .figures import Figure, alternate, at_least, at_most, fastest, require_close, say
from .peers import GROUP, TOLERANCE, Peer, peers
from .workers import run_worker

TENSORS, QUICK_TENSORS = 66, 4
TRIED = 2
"""So many tensors decide which peer is the fastest."""
MEMORY_LIMIT = 400e6
COPY_PIECE = 16 << 20


def measure(names: Sequence[str], quick: bool) -> Iterator[Figure]:
    """The one figure there is."""
    del names
    with tempfile.TemporaryDirectory(prefix="qexplorer-benchmark-") as folder:
        path = Path(folder, "scan.safetensors")
        say("writing a checkpoint to scan")
        write_scan(path, QUICK_TENSORS if quick else TENSORS)
        yield _scan(path, quick)


def _scan(path: Path, quick: bool) -> Figure:
    threads, found = data.threads(), peers()
    runs, nbytes = data.runs(quick), path.stat().st_size
    say("choosing the fastest peer")
    tried = alternate({name: lambda peer=peer: _errors(path, peer, TRIED) for name, peer in found.items()}, 1)
    peer_name, _ = fastest(tried)
    peer = found[peer_name]
    say(f"comparing with {peer_name}")
    rows = _rows(path, QuantSpec.from_json(peer.spec))
    for row, error in zip(rows, _errors(path, peer, len(rows)), strict=True):
        require_close(f"{peer_name}, MSE of {row.name}", row.figures[0].metrics.mse, error, TOLERANCE)
    spec = QuantSpec.from_json({"format": "int4", "granularity": f"group:{GROUP}"})
    seconds = alternate(
        {
            "ours": lambda: _rows(path, spec),
            "peer": lambda: _errors(path, peer, len(rows)),
            "read": lambda: _read(path),
        },
        runs,
    )
    say("measuring the memory of a scan")
    memory = run_worker("scans", path=str(path))["bytes"]
    taken, ratio = seconds["ours"], seconds["peer"] / seconds["ours"]
    return Figure(
        name="scan",
        work=f"a bfloat16 checkpoint of {nbytes / 1e9:.2g} GB: INT4, groups of {GROUP}, every tensor",
        ours_s=taken,
        peer=f"{peer_name}, read by safetensors",
        peer_s=seconds["peer"],
        limit="reading the file, from the cache of the system",
        limit_s=seconds["read"],
        runs=runs,
        bars=(
            at_least(f">= 8x the fastest peer ({peer_name})", ratio, 8),
            at_most("peak memory <= 400 MB over the idle window", max(memory, 1), MEMORY_LIMIT),
        ),
        note=f"{nbytes / taken / 1e9:.2f} GB/s, the peer {nbytes / seconds['peer'] / 1e9:.2f} GB/s, {threads} threads; "
        f"peak memory {memory / 1e6:.0f} MB over the idle window",
        more={"gb_per_s": nbytes / taken / 1e9, "peak_bytes": memory, "peers_tried_s": tried},
    )


def _rows(path: Path, spec: QuantSpec) -> Any:
    scan = Scan(Analyses(finish(open_checkpoint(path))), (Recipe.of_weights(spec),))
    finish(scan.steps())
    return scan.rows


def _errors(path: Path, peer: Peer, tensors: int) -> list[float]:
    with safe_open(str(path), "pt") as file:
        names = sorted(file.keys(), key=lambda name: int(name.split(".")[2]))
        return [peer.mse(file.get_tensor(name)) for name in names[:tensors]]


def _read(path: Path) -> None:
    buffer = bytearray(COPY_PIECE)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def work(path: str) -> dict[str, float]:
    """The worker: how much more memory than the idle window is in use at most while the file is opened and scanned."""
    from qexplorer.app import first_state

    from .windows import shown_window

    spec = QuantSpec.from_json({"format": "int4", "granularity": f"group:{GROUP}"})
    with shown_window(first_state()), _Peak() as peak:
        _rows(Path(path), spec)
    return {"bytes": peak.highest - peak.before}


class _Peak:
    """The most memory that is resident inside of a `with`, looked at every few milliseconds."""

    def __enter__(self) -> "_Peak":
        self.before = self.highest = _resident()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.002):
            self.highest = max(self.highest, _resident())


def _resident() -> int:
    return psutil.Process().memory_info().rss
