"""`Scan`: what some recipes do to every tensor of a checkpoint, a few pieces in memory at a time."""

import math
import threading
from collections.abc import Sequence
from dataclasses import replace

from qexplorer.errors import UserError
from qexplorer.inspection.analyses import Analyses
from qexplorer.inspection.rows import EMPTY, KEPT, LayerFigures, LayerRow, Thumbnail, Totals
from qexplorer.progress import Progress, Steps, mapped
from qexplorer.quant import QuantSpec
from qexplorer.quant.flags import NO_FLAGS
from qexplorer.quant.recipe import Recipe
from qexplorer.weights import TensorInfo


class Scan:
    """Every tensor of a checkpoint under every recipe, in the file's order.

    `rows` grow while `steps` run; another thread may read them and the totals meanwhile. Work that was stopped goes on
    where it stopped when `steps` is called again. What `analyses` know is not measured again, and what is found is
    added to them: of the first recipe with its histograms where that is to be `whole`.
    """

    def __init__(self, analyses: Analyses, recipes: Sequence[Recipe], *, whole: bool = False) -> None:
        self.checkpoint, self.recipes = analyses.checkpoint, tuple(recipes)
        self._analyses, self._whole = analyses, whole
        self._figures: dict[QuantSpec, dict[str, LayerFigures]] = {}
        self._costs: list[int] = []
        self._lock = threading.Lock()
        self._rows: list[LayerRow] = []
        self._by_name: dict[str, LayerRow] = {}
        self._totals = tuple(Totals() for _ in self.recipes)

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
        """The sums over the tensors that are done, for each recipe."""
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
        return not (tensor.tied_to or _refusal(tensor) or self._is_known(tensor))

    def _is_known(self, tensor: TensorInfo) -> bool:
        return tensor.name in self._analyses.thumbnails and not self._missing(tensor)

    def _missing(self, tensor: TensorInfo) -> list[QuantSpec]:
        """The specs under which the tensor was not measured yet."""
        specs = dict.fromkeys(spec for spec in self._specs(tensor) if spec is not None)
        return [spec for spec in specs if tensor.name not in self._known(spec)]

    def _known(self, spec: QuantSpec) -> dict[str, LayerFigures]:
        """What was found under a spec, by the tensor's name."""
        if spec not in self._figures:
            self._figures[spec] = self._analyses.figures(spec)
        return self._figures[spec]

    def _specs(self, tensor: TensorInfo) -> tuple[QuantSpec | None, ...]:
        """What each recipe makes of the tensor's values."""
        asked = any(recipe.asks_for_kinds for recipe in self.recipes)
        kind = self.checkpoint.kind_name(tensor) if asked else ""
        return tuple(recipe.of(tensor.name, kind).weights for recipe in self.recipes)

    def _row(self, tensor: TensorInfo) -> Steps[LayerRow]:
        """Measure a tensor, unless it is known. What goes wrong with it is said in its row."""
        first = self._by_name.get(tensor.tied_to) if tensor.tied_to else None
        if first is not None:
            role = self.checkpoint.roles[tensor.name]
            return replace(first, name=tensor.name, role=role, share=0.0, tied_to=tensor.tied_to)
        refusal = _refusal(tensor)
        if refusal:
            return self._describe(tensor, EMPTY, refusal)
        try:
            if not self._is_known(tensor):
                yield from self._measure(tensor)
        except UserError as error:
            return self._describe(tensor, EMPTY, str(error))
        except MemoryError:
            return self._describe(tensor, EMPTY, "There is not enough memory to measure it.")
        picture = self._analyses.thumbnails[tensor.name]
        trouble = "" if math.isfinite(picture.lo) else "None of its values is finite." if tensor.n else "It is empty."
        return self._describe(tensor, picture, trouble)

    def _measure(self, tensor: TensorInfo) -> Steps[None]:
        """Learn of a tensor what is not known."""
        whole = self._specs(tensor)[0] if self._whole else None
        picture, found = yield from self._analyses.measure(tensor.name, self._missing(tensor), whole=whole)
        for spec, figures in found.items():
            self._known(spec)[tensor.name] = figures
        self._analyses.thumbnails[tensor.name] = picture

    def _describe(self, tensor: TensorInfo, picture: Thumbnail, trouble: str = "") -> LayerRow:
        nbytes, specs = self.checkpoint.nbytes, self._specs(tensor)
        return LayerRow(
            name=tensor.name,
            shape=tensor.shape,
            dtype=tensor.dtype,
            n=tensor.n,
            original_bytes=tensor.nbytes,
            share=tensor.nbytes / nbytes if nbytes and not tensor.tied_to else 0.0,
            figures=tuple(self._figures_of(tensor, spec, trouble) for spec in specs),
            specs=specs,
            histogram=picture.counts,
            lo=picture.lo,
            hi=picture.hi,
            role=self.checkpoint.roles[tensor.name],
            flags=self._analyses.flags.get(tensor.name, NO_FLAGS),
            tied_to=tensor.tied_to,
            trouble=trouble,
        )

    def _figures_of(self, tensor: TensorInfo, spec: QuantSpec | None, trouble: str) -> LayerFigures:
        if trouble or spec is None:
            return LayerFigures(refusal=trouble or KEPT)
        return self._known(spec)[tensor.name]

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
