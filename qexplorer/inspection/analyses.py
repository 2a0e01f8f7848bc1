"""Looks at the tensors of one file: at once from a sketch or a sample, then exactly."""

import importlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from qexplorer.inspection.sketch_cache import SketchCache
from qexplorer.progress import Progress, Steps, within
from qexplorer.quant import Analysis, QuantSpec, analyze
from qexplorer.quant.analysis import analyze_sketch, for_all, unsketched
from qexplorer.quant.error_sums import WORTH_LOADING
from qexplorer.quant.sketch import Sketch, sketch
from qexplorer.quant.subsample import thin
from qexplorer.quant.tensor_source import Values
from qexplorer.weights import Checkpoint

QUICK_FROM = 1 << 17
"""Tensors of more values are looked at quickly first."""
SAMPLED = 1 << 16
"""So many values answer within a frame where values that share a scale have to stay together."""
ANALYSES_BYTES = 64 << 20

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A cache that forgets what was not asked for longest. Several threads may ask it.

    It holds at most `size` in all, the sum of what `weigh` says of each; 1 where there is none.
    """

    def __init__(self, size: int, weigh: Callable[[V], int] = lambda _: 1) -> None:
        self._size, self._weigh, self._held = size, weigh, 0
        self._items: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value of `key`, if it is still known."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: K, value: V) -> None:
        """Remember a value."""
        with self._lock:
            if key in self._items:
                self._held -= self._weigh(self._items.pop(key))
            self._items[key] = value
            self._held += self._weigh(value)
            while self._held > self._size and len(self._items) > 1:
                self._held -= self._weigh(self._items.popitem(last=False)[1])


def weight(analysis: Analysis) -> int:
    """About how many bytes an analysis takes."""
    held = (*vars(analysis).values(), *vars(analysis.params).values())
    return 4096 + sum(each.nbytes for each in held if isinstance(each, np.ndarray))


class Looks:
    """What was seen of the tensors of a file. Steps may run on any thread, one at a time for each tensor.

    All raise `UserError` where a tensor cannot be read or the spec does not serve it.
    """

    def __init__(self, checkpoint: Checkpoint, cache: SketchCache) -> None:
        self.checkpoint, self._cache = checkpoint, cache
        self._values: Recent[str, Values] = Recent(4)
        self._sketches: Recent[str, Sketch] = Recent(16)
        self._uncached: set[str] = set()
        self._samples: Recent[tuple[str, str], Values] = Recent(16)
        self._analyses: Recent[tuple[str, QuantSpec], Analysis] = Recent(ANALYSES_BYTES, weight)

    def known(self, name: str, spec: QuantSpec) -> Analysis | None:
        """The exact analysis, if it was made before."""
        return self._analyses.get((name, spec))

    def quick_first(self, name: str) -> bool:
        """Whether a quick look at the tensor is worth it."""
        return self.checkpoint.tensor(name).n > QUICK_FROM

    def values(self, name: str, *, keep: bool = True) -> Steps[Values]:
        """The values of a tensor; `keep` them for the next look (a scan would push out those of what is shown)."""
        values = self._values.get(name)
        if values is None:
            values = yield from within(self.checkpoint.values_steps(self.checkpoint.tensor(name)), 0.0, 0.0)
            if keep:
                self._values.put(name, values)
        return values

    def exact(self, name: str, spec: QuantSpec, *, keep: bool = True) -> Steps[Analysis]:
        """Every value quantized and counted."""
        values = yield from self.values(name, keep=keep)
        analysis = yield from analyze(values, spec, original_bytes=self.checkpoint.tensor(name).nbytes)
        self._analyses.put((name, spec), analysis)
        return analysis

    def quick(self, name: str, spec: QuantSpec) -> Steps[Analysis]:
        """An answer within a frame once the tensor was sketched, or a part of it read: sketch or sampled."""
        tensor = self.checkpoint.tensor(name)
        if tensor.n >= WORTH_LOADING:
            yield Progress("Loading kernels")
            importlib.import_module("qexplorer.quant.kernels")
        if not unsketched(spec):
            whole = yield from self.sketch(name)
            return analyze_sketch(whole, tensor.shape, spec, original_bytes=tensor.nbytes)
        key = (name, spec.granularity.text)
        part = self._samples.get(key)
        if part is None:
            part = thin((yield from self.values(name)), spec, SAMPLED)
            self._samples.put(key, part)
        whole = self._known_sketch(name)
        ends = (float(whole.values[0]), float(whole.values[-1])) if whole is not None and whole.n else None
        return for_all((yield from analyze(part, spec)), tensor.shape, tensor.nbytes, ends)

    def sketch(self, name: str) -> Steps[Sketch]:
        """The sketch of a tensor: from memory, from the disk, or counted now."""
        whole = self._known_sketch(name)
        if whole is None:
            whole = yield from sketch((yield from self.values(name)))
            self._cache.put(self.checkpoint.identity(self.checkpoint.tensor(name)), whole)
            self._sketches.put(name, whole)
            self._uncached.discard(name)
        return whole

    def _known_sketch(self, name: str) -> Sketch | None:
        whole = self._sketches.get(name)
        if whole is None and name not in self._uncached:
            whole = self._cache.get(self.checkpoint.identity(self.checkpoint.tensor(name)))
            if whole is None:
                self._uncached.add(name)
            else:
                self._sketches.put(name, whole)
        return whole
