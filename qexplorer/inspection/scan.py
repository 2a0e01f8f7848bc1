"""`Scan`: what some specs do to every tensor of a checkpoint, a few pieces in memory at a time."""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

from qexplorer.errors import UserError
from qexplorer.inspection.analyses import Analyses
from qexplorer.inspection.rows import EMPTY, LayerFigures, LayerRow, Thumbnail, Totals
from qexplorer.progress import Progress, Steps, mapped
from qexplorer.quant import QuantSpec
from qexplorer.quant.flags import NO_FLAGS
from qexplorer.weights import TensorInfo


class Scan:
    """Every tensor of a checkpoint under every spec, in the file's order.

    `rows` grow while `steps` run; another thread may read them and the totals meanwhile. Work that was stopped goes on
    where it stopped when `steps` is called again. What `analyses` know is not measured again, and what is found is
    added to them: of the spec `whole` with its histograms.
    """

    def __init__(self, analyses: Analyses, specs: Sequence[QuantSpec], *, whole: QuantSpec | None = None) -> None:
        self.checkpoint, self.specs = analyses.checkpoint, tuple(specs)
        self._analyses, self._whole = analyses, whole
        self._figures = {spec: analyses.figures(spec) for spec in self.specs}
        self._costs: list[int] = []
        self._lock = threading.Lock()
        self._rows: list[LayerRow] = []
        self._by_name: dict[str, LayerRow] = {}
        self._totals = tuple(Totals() for _ in self.specs)

    @property
    def rows(self) -> tuple[LayerRow, ...]:
        """The tensors that are done."""
        return self.new_rows(0)

    def new_rows(self, since: int) -> tuple[LayerRow, ...]:
        """The tensors that are done, without the first `since` ones."""
        with self._lock:
            return tuple(self._rows[since:])

    @property
    def totals(self) -> tuple[Totals, ...]:
        """The sums over the tensors that are done, for each spec."""
        with self._lock:
            return self._totals

    @property
    def done(self) -> int:
        """How many tensors are done."""
        with self._lock:
            return len(self._rows)

    @property
    def complete(self) -> bool:
        """Whether every tensor is done."""
        return self.done == len(self.checkpoint.tensors)

    def steps(self) -> Steps[tuple[LayerRow, ...]]:
        """Measure what is not done yet; progress is in bytes of all that has to be read."""
        tensors = self.checkpoint.tensors
        costs = self._costs = self._costs or [t.nbytes if self._has_to_be_read(t) else 0 for t in tensors]
        total, at = sum(costs), self.done
        read = sum(costs[:at])
        yield _progress(read, total)
        for tensor, cost in zip(tensors[at:], costs[at:], strict=True):

            def report(step: Progress, read: int = read, cost: int = cost) -> Progress:
                return _progress(read + cost * (step.fraction or 0.0), total)

            self._add((yield from mapped(self._row(tensor), report)))
            read += cost
            yield _progress(read, total)
        return self.rows

    def _has_to_be_read(self, tensor: TensorInfo) -> bool:
        return not (tensor.tied_to or _refusal(tensor) or self._is_known(tensor.name))

    def _is_known(self, name: str) -> bool:
        return name in self._analyses.thumbnails and all(name in known for known in self._figures.values())

    def _row(self, tensor: TensorInfo) -> Steps[LayerRow]:
        """Measure a tensor, unless it is known. What goes wrong with it is said in its row."""
        first = self._by_name.get(tensor.tied_to) if tensor.tied_to else None
        if first is not None:
            role = self.checkpoint.roles[tensor.name]
            return replace(first, name=tensor.name, role=role, share=0.0, tied_to=tensor.tied_to)
        refusal = _refusal(tensor)
        if refusal:
            return self._describe(tensor, {}, EMPTY, refusal)
        try:
            if not self._is_known(tensor.name):
                yield from self._measure(tensor.name)
        except UserError as error:
            return self._describe(tensor, {}, EMPTY, str(error))
        except MemoryError:
            return self._describe(tensor, {}, EMPTY, "There is not enough memory to measure it.")
        picture = self._analyses.thumbnails[tensor.name]
        figures = {spec: known[tensor.name] for spec, known in self._figures.items()}
        trouble = "" if math.isfinite(picture.lo) else "None of its values is finite." if tensor.n else "It is empty."
        return self._describe(tensor, {} if trouble else figures, picture, trouble)

    def _measure(self, name: str) -> Steps[None]:
        """Learn of a tensor what is not known."""
        missing = [spec for spec, known in self._figures.items() if name not in known]
        picture, found = yield from self._analyses.measure(name, missing, whole=self._whole)
        for spec, figures in found.items():
            self._figures[spec][name] = figures
        self._analyses.thumbnails[name] = picture

    def _describe(
        self, tensor: TensorInfo, figures: Mapping[QuantSpec, LayerFigures], picture: Thumbnail, trouble: str = ""
    ) -> LayerRow:
        nbytes = self.checkpoint.nbytes
        return LayerRow(
            name=tensor.name,
            shape=tensor.shape,
            dtype=tensor.dtype,
            n=tensor.n,
            original_bytes=tensor.nbytes,
            share=tensor.nbytes / nbytes if nbytes and not tensor.tied_to else 0.0,
            figures=tuple(figures.get(spec, LayerFigures(refusal=trouble)) for spec in self.specs),
            histogram=picture.counts,
            lo=picture.lo,
            hi=picture.hi,
            role=self.checkpoint.roles[tensor.name],
            flags=self._analyses.flags.get(tensor.name, NO_FLAGS),
            tied_to=tensor.tied_to,
            trouble=trouble,
        )

    def _add(self, row: LayerRow) -> None:
        with self._lock:
            self._rows.append(row)
            self._by_name[row.name] = row
            self._totals = tuple(
                totals.plus(row, figures) for totals, figures in zip(self._totals, row.figures, strict=True)
            )


def _progress(read: float, total: int) -> Progress:
    return Progress("Scanning", round(read), total, read / total if total else None)


def _refusal(tensor: TensorInfo) -> str:
    """Why the header alone says that a tensor cannot be quantized; empty if it does not."""
    if tensor.unsupported:
        return f"{tensor.unsupported}."
    if not tensor.dtype.startswith(("float", "bfloat")):
        return f"It holds {tensor.dtype}, not floating-point weights."
    return ""
