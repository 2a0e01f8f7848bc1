"""`Analyses`: those of the tensors of one file, at once from a sketch or a sample, then exactly."""

import importlib
from collections.abc import Mapping, Sequence

import numpy as np

from qexplorer.errors import UserError
from qexplorer.inspection.recent import Recent
from qexplorer.inspection.rows import LayerFigures, Thumbnail, thumbnail_of
from qexplorer.inspection.sketch_cache import SketchCache
from qexplorer.progress import Progress, Steps, within
from qexplorer.quant import Analysis, QuantSpec, analyze
from qexplorer.quant.advice import SpecAdvice, advise
from qexplorer.quant.analysis import analyze_sketch, for_all, unsketched
from qexplorer.quant.error_sums import WORTH_LOADING
from qexplorer.quant.flags import Flags, flags_of
from qexplorer.quant.glance import Glance
from qexplorer.quant.moments import shape_of
from qexplorer.quant.sketch import Sketch, sketch
from qexplorer.quant.subsample import thin
from qexplorer.quant.tensor_source import Values
from qexplorer.quant.windows import Span, Windows, count_windows
from qexplorer.weights import Checkpoint
from qexplorer.weights.checkpoint import FormatError

QUICK_FROM = 1 << 17
"""Tensors of more values are answered quickly first."""
SAMPLED = 1 << 16
"""So many values answer within a frame where values that share a scale have to stay together."""
VALUES_BYTES = 512 << 20
"""The values of four tensors are kept, of fewer where they take more memory; those of the last one always."""
ANALYSES_BYTES = 64 << 20
ADVICE = 32
SPECS = 64
"""The figures of so many specs are remembered: those that are compared, and some that were."""

Measured = tuple[Thumbnail, Mapping[QuantSpec, LayerFigures]]
"""What was found of a tensor: its histogram, and its figures under some specs."""


def weight(analysis: Analysis) -> int:
    """About how many bytes an analysis takes."""
    held = (*vars(analysis).values(), *vars(analysis.params).values())
    return 4096 + sum(each.nbytes for each in held if isinstance(each, np.ndarray))


class Analyses:
    """What was found of the tensors of a file. Steps may run on several threads.

    All raise `UserError` where a tensor cannot be read or the spec does not serve it.
    """

    def __init__(self, checkpoint: Checkpoint, cache: SketchCache | None = None) -> None:
        self.checkpoint, self._cache = checkpoint, cache or SketchCache(None)
        self._values: Recent[str, Values] = Recent(VALUES_BYTES, lambda values: max(values.held, VALUES_BYTES // 4))
        self._sketches: Recent[str, Sketch] = Recent(16)
        self._uncached: set[str] = set()
        self._glances: Recent[str, Glance] = Recent(2)
        self._samples: Recent[tuple[str, str], Values] = Recent(16)
        self._advice: Recent[tuple[str, QuantSpec], tuple[SpecAdvice, ...]] = Recent(ADVICE)
        self._analyses: Recent[tuple[str, QuantSpec], Analysis] = Recent(ANALYSES_BYTES, weight)
        self.thumbnails: dict[str, Thumbnail] = {}
        """The thumbnail of each tensor that has been measured, by name."""
        self.flags: dict[str, Flags] = {}
        """The flags of each tensor that has been read, by name."""
        self._figures: Recent[QuantSpec, dict[str, LayerFigures]] = Recent(SPECS)

    def known(self, name: str, spec: QuantSpec) -> Analysis | None:
        """The exact analysis, if it was made before and the file is still the same."""
        analysis = self._analyses.get((name, spec))
        return analysis if analysis is not None and self._is_same(name) else None

    def quick_first(self, name: str) -> bool:
        """Whether a quick answer is worth it for the tensor."""
        return self.checkpoint.tensor(name).n > QUICK_FROM

    def values(self, name: str, *, keep: bool = True) -> Steps[Values]:
        """The values of a tensor; `keep` them for the next time (a scan would push out those of what is shown)."""
        self.checkpoint.require_unchanged(self.checkpoint.tensor(name))
        values = self._values.get(name)
        if values is None:
            values = yield from within(self.checkpoint.values_steps(self.checkpoint.tensor(name)), 0.0, 0.0)
            if keep:
                self._values.put(name, values)
        return values

    def exact(self, name: str, spec: QuantSpec, values: Values | None = None) -> Steps[Analysis]:
        """Every value quantized and counted; `values` are the tensor's, where they are at hand."""
        if values is None:
            values = yield from self.values(name)
        analysis = yield from analyze(values, spec, original_bytes=self.checkpoint.tensor(name).nbytes)
        self._analyses.put((name, spec), analysis)
        self.figures(spec)[name] = LayerFigures(analysis.metrics, analysis.sums)
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
        glance = yield from self.glance(name)
        part = self._samples.get(key)
        if part is None:
            part = thin(glance.values, spec, SAMPLED)
            self._samples.put(key, part)
        finite = yield from glance.finite(spec)
        found = yield from glance.estimate(spec)
        return for_all((yield from analyze(part, spec)), tensor.shape, tensor.nbytes, finite, found)

    def glance(self, name: str) -> Steps[Glance]:
        """What was found of a tensor so far, for first answers."""
        self.checkpoint.require_unchanged(self.checkpoint.tensor(name))
        glance = self._glances.get(name)
        if glance is None:
            glance = Glance((yield from self.values(name)), self.known_sketch(name))
            self._glances.put(name, glance)
        return glance

    def advice(self, name: str, analysis: Analysis) -> Steps[tuple[SpecAdvice, ...]]:
        """What would help a tensor as an exact analysis has it; all of it was measured."""
        key = (name, analysis.spec)
        found = self._advice.get(key)
        if found is None:
            values, whole = (yield from self.values(name)), (yield from self.sketch(name))
            found = yield from advise(values, analysis, (yield from shape_of(values, whole)))
            self._advice.put(key, found)
        return found

    def sketch(self, name: str) -> Steps[Sketch]:
        """The sketch of a tensor: from memory, from the disk, or counted now."""
        whole = self.known_sketch(name)
        if whole is None:
            whole = yield from sketch((yield from self.values(name)))
            self._cache.put(self.checkpoint.identity(self.checkpoint.tensor(name)), whole)
            self._sketches.put(name, whole)
            self._uncached.discard(name)
        return whole

    def inspect(self, name: str) -> Steps[tuple[Sketch, Flags]]:
        """The sketch of a tensor, and what is odd about its values."""
        whole = yield from self.sketch(name)
        if name not in self.flags:
            self.flags[name] = yield from flags_of((yield from self.values(name)), whole)
        return whole, self.flags[name]

    def windows(self, name: str, analysis: Analysis, span: Span | None, errors: Span | None) -> Steps[Windows]:
        """Every value and every error in these parts of the axes, counted anew for an exact analysis."""
        return (yield from count_windows((yield from self.values(name)), analysis, span, errors))

    def known_sketch(self, name: str) -> Sketch | None:
        """The sketch of a tensor, if it is in memory or on the disk and the file is still the same."""
        if not self._is_same(name):
            return None
        whole = self._sketches.get(name)
        if whole is None and name not in self._uncached:
            whole = self._cache.get(self.checkpoint.identity(self.checkpoint.tensor(name)))
            if whole is None:
                self._uncached.add(name)
            else:
                self._sketches.put(name, whole)
        return whole

    def _is_same(self, name: str) -> bool:
        """Whether what was found of a tensor is of what the file holds now; reading it says where it is not."""
        try:
            self.checkpoint.require_unchanged(self.checkpoint.tensor(name))
        except FormatError:
            return False
        return True

    def figures(self, spec: QuantSpec) -> dict[str, LayerFigures]:
        """What the spec does to each tensor that was measured under it, by name; who measures another adds to it."""
        known = self._figures.get(spec)
        if known is None:
            known = dict[str, LayerFigures]()
            self._figures.put(spec, known)
        return known

    def forget(self) -> None:
        """Measure again what is asked for next, whatever was found of it."""
        self.thumbnails.clear()
        self.flags.clear()
        self._figures.clear()

    def measure(self, name: str, specs: Sequence[QuantSpec], *, whole: QuantSpec | None = None) -> Steps[Measured]:
        """Read a tensor and measure it under each spec; one that does not serve it says so in its figures.

        Of the spec `whole` the analysis is made with its histograms, and then known.
        """
        part = 1 / (len(specs) + 1)
        values = yield from self.values(name, keep=False)
        multiset = yield from within(self._inspected(name, values), 0.0, part)
        found: dict[QuantSpec, LayerFigures] = {}
        for i, spec in enumerate(specs, 1):
            steps = self._measure_under(name, spec, values, multiset, whole=spec == whole)
            found[spec] = yield from within(steps, i * part, (i + 1) * part)
        return thumbnail_of(multiset), found

    def _inspected(self, name: str, values: Values) -> Steps[Sketch]:
        """The sketch of a tensor, which tells its flags; these are known where there can be no sketch, too."""
        whole = (yield from sketch(values)) if values.dtype.itemsize <= 4 else None
        self.flags[name] = yield from flags_of(values, whole)
        return whole or (yield from sketch(values))

    def _measure_under(
        self, name: str, spec: QuantSpec, values: Values, multiset: Sketch, *, whole: bool
    ) -> Steps[LayerFigures]:
        tensor = self.checkpoint.tensor(name)
        try:
            if whole:
                analysis = yield from self.exact(name, spec, values)
            elif multiset.exact and not unsketched(spec):
                analysis = analyze_sketch(multiset, tensor.shape, spec, bins=0, original_bytes=tensor.nbytes)
            else:
                analysis = yield from analyze(values, spec, bins=0, original_bytes=tensor.nbytes)
        except UserError as error:
            return LayerFigures(refusal=str(error))
        return LayerFigures(analysis.metrics, analysis.sums)
