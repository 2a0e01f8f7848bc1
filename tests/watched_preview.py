"""A preview whose answers are written down, and files for it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from qexplorer.progress import finish
from qexplorer.quant import Analysis, analyze
from qexplorer.quant.spec import QuantSpec
from qexplorer.state.app_state import AppState
from qexplorer.state.layer_scan import LayerScan
from qexplorer.state.preview import Preview
from qexplorer.state.runner import Runner
from qexplorer.state.store import Store
from qexplorer.weights import open_checkpoint

INT4 = QuantSpec.from_json({"format": "int4"})


def weights(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "small.weight": rng.normal(size=(8, 16)).astype(np.float32),
        "conv.weight": rng.normal(size=(16, 32, 3, 3)).astype(np.float32),
        "head.weight": rng.normal(size=(64, 256)).astype(np.float16),
        "wide.weight": rng.normal(size=(128, 512)).astype(np.float32),
        "conv.bias": np.zeros(16, np.float32),
        "steps": np.array([7], np.int64),
        "none.weight": np.zeros((0, 16), np.float32),
    }


class Watched:
    """A store with its preview and the scan of the tensors, and everything that they told."""

    def __init__(self, state: AppState) -> None:
        self.store = Store(state)
        runner = Runner("preview")
        self.preview = Preview(self.store, runner)
        self.layers = LayerScan(self.store, self.preview, Runner("measuring", after=runner))
        self.told: list[tuple[str, Any]] = []
        for name in ("opened", "refused", "analyzed", "failed"):
            getattr(self.preview, name).connect(self._listener(name))
        for name in ("measured", "cleared"):
            getattr(self.layers, name).connect(self._listener(name))

    def _listener(self, name: str) -> Callable[..., None]:
        return lambda *args: self.told.append((name, args[0] if len(args) == 1 else args))

    def of(self, name: str) -> list[Any]:
        return [what for each, what in self.told if each == name]

    def start(self, qtbot: Any) -> "Watched":
        self.preview.start()
        self.settle(qtbot)
        return self

    def settle(self, qtbot: Any) -> None:
        qtbot.waitUntil(lambda: self.preview.idle and self.layers.idle, timeout=20_000)


def direct(file: str, name: str, spec: QuantSpec) -> Analysis:
    checkpoint = finish(open_checkpoint(file))
    return finish(analyze(checkpoint.read(checkpoint.tensor(name)), spec))
