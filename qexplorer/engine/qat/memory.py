"""What a training step takes: measured, and by formula, with gradient checkpointing and without."""

import math
import weakref
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from qexplorer.engine.simulation.prepared import Prepared
from qexplorer.engine.simulation.stages import Stages


class Checkpointed:
    """Runs a traced model in about √L segments of its L layers. Only what is alive between segments is kept for the
    backward pass; the rest is computed once more there (Chen et al. 2016, “Training Deep Nets with Sublinear Memory
    Cost”). Batch norm counts a batch once, in the first run.
    """

    def __init__(self, prepared: Prepared, places: list[int]) -> None:
        self.module = prepared.module
        self._stages = Stages(prepared)
        n = max(round(math.sqrt(len(places))), 1)
        step = -(-len(places) // n)
        self.cuts = [*places[step::step], self._stages.end]

    def __call__(self, x: Tensor) -> Tensor:
        values, at = self._stages.begin(x)
        for cut in self.cuts:
            values: Any = checkpoint(
                self._stages.run, self.module, values, at, cut, use_reentrant=False, context_fn=self._contexts
            )
            at = cut
        return values[self._stages.nodes[-1]]

    def _contexts(self) -> tuple[Any, Any]:
        return _Still(()), _Still(tuple(m for m in self.module.modules() if isinstance(m, Norm)))


Norm = nn.modules.batchnorm._BatchNorm


class _Still:
    """Keeps running statistics as they are."""

    def __init__(self, norms: tuple[Any, ...]) -> None:
        self._norms = [(norm, norm.momentum) for norm in norms]

    def __enter__(self) -> None:
        for norm, _ in self._norms:
            norm.momentum = 0.0

    def __exit__(self, *args: object) -> None:
        for norm, momentum in self._norms:
            norm.momentum = momentum


class PeakMemory(TorchDispatchMode):
    """Inside: the greatest number of bytes that tensors made here took at once, on any device."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        return out

    def _add(self, storage: Any) -> None:
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()

        def gone(_: Any) -> None:
            self._known.pop(key, None)
            self.now -= size

        self._known[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def measured_peak(step: Callable[[], object]) -> int:
    """The bytes that a step takes at once beyond what there was before it."""
    with PeakMemory() as memory:
        step()
    return memory.peak


def formula(prepared: Prepared, x: Tensor, cuts: list[int] | None) -> int:
    """The bytes of what the nodes of a traced model give for `x`: all of them, or, with the `cuts` of checkpointing,
    those alive between segments and those of the largest segment.
    """
    stages = Stages(prepared)
    values, at = stages.begin(x)
    sizes: list[int] = [0] * stages.end
    alive: list[int] = []
    ends = cuts or [stages.end]
    with torch.no_grad():
        for i in range(at, stages.end):
            before = set(values)
            values = stages.run(prepared.module, values, i, i + 1)
            sizes[i] = sum(_bytes(v) for node, v in values.items() if node not in before)
            if i + 1 in ends and i + 1 != stages.end:
                alive.append(sum(_bytes(v) for v in values.values()))
    bounds = [at, *ends]
    segments = [sum(sizes[a:b]) for a, b in pairwise(bounds)]
    return sum(alive) + max(segments)


def _bytes(value: Any) -> int:
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0
