"""Simulated against real: the same codes into an int8 kernel and into float arithmetic, and the difference in LSBs."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.backends import BACKEND, ENGINE_CHOICES, Kernel, choose_engine
from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.job_context import Conversion, JobContext
from qexplorer.engine.jobs.model_job import ModelJob, calibration_setting
from qexplorer.engine.jobs.presentation import Presentation, presentation_of
from qexplorer.engine.jobs.ptq_static import PRESET_CHOICES
from qexplorer.engine.jobs.real_overrides import REAL_HELP, float_note, real_recipe, real_weights
from qexplorer.engine.measuring.row import Variant
from qexplorer.engine.runs.findings import CodeAgreement
from qexplorer.engine.runs.layer_figures import LayerFigures
from qexplorer.engine.runs.results import RunResult
from qexplorer.engine.runs.run_spec import RunSpec
from qexplorer.numbers import percent
from qexplorer.progress import Progress, Steps, within
from qexplorer.quant.params import QuantParams
from qexplorer.quant.spec import QuantSpec
from qexplorer.settings import setting
from qexplorer.text import first_few

if TYPE_CHECKING:
    from torch import Tensor

WIDEST = 4
"""Differences of so many LSBs and more are counted together."""
CONVERTED = 0.5


@jobs.register
@dataclass(frozen=True)
class Parity(ModelJob):
    """Each int8 layer, linear or convolutional, is given the codes that it gets in the int8 model, and its output is
    compared with this program's own fake quantization of the same layer computed in float32. A layer that stays float
    has no codes.
    """

    preset: str = setting("x86", "Preset", "The int8 model's observers and scales", choices=PRESET_CHOICES)
    engine: str = setting("auto", "Engine", "The int8 kernels; auto: the best supported", choices=ENGINE_CHOICES)
    overrides: str = setting("", "Overrides", REAL_HELP, minor=True, wide=True, empty="none")
    calibration: int = calibration_setting()
    compared: int = setting(
        64, "Compared samples", "The first so many test samples", minimum=1, maximum=1024, minor=True
    )

    name: ClassVar[str] = "parity"
    title: ClassVar[str] = "Parity"
    help: ClassVar[str] = "How far real int8 kernels are from the simulation, in LSBs per layer"
    order: ClassVar[int] = 60
    reported: ClassVar[tuple[str, ...]] = ("overrides", "preset")

    def __post_init__(self) -> None:
        super().__post_init__()
        real_recipe(self.overrides)

    @classmethod
    def present(cls, result: RunResult) -> Presentation:
        shown, found = presentation_of(result, "layer"), result.findings
        if not isinstance(found, CodeAgreement):
            return shown
        remark = (f"{percent(found.equal)} of {found.outputs:,} codes are equal; the largest difference is "
                  f"{found.largest_lsb} LSB.")  # fmt: skip
        return replace(shown, remarks=(remark,))

    def int8_engine(self) -> str:
        return choose_engine(self.engine)

    def convert(self, context: JobContext) -> Steps[Conversion]:
        from qexplorer.engine.simulation.watching import watching_outputs

        batches = context.batches(self.calibration)
        steps = BACKEND().quantize(context.module, self.preset, batches, real_weights(self.overrides, context))
        real = yield from within(steps, 0.0, CONVERTED)
        kernels, others = BACKEND().kernels(real.module)
        compared = {kernel.name: _Compared(kernel) for kernel in kernels}
        images = context.test[0][: self.compared]
        with watching_outputs({k.name: k.module for k in kernels}, lambda name, x, y: compared[name].add(x, y)):
            yield from within(_run(real.module, images), CONVERTED, 1.0)
        layers = tuple(own.figures(name) for name, own in compared.items() if own.counts.any())
        missing = f"Int8 layers that are not compared: {first_few(others)}." if others else ""
        note = " ".join(filter(None, (float_note(real.kept), missing)))
        row = Variant(self.preset, BACKEND.kind, self.int8_engine(), real.module, note=note)
        total = sum(sum(layer.counts) for layer in layers)
        same = sum(layer.counts[0] for layer in layers)
        largest = max((layer.largest_lsb or 0 for layer in layers), default=0)
        findings = CodeAgreement(len(images), total, same / max(total, 1), largest)
        return Conversion((row,), RunSpec(preset=real.spec), layers, sum(map(len, batches)), findings=findings)


def _run(module: Any, images: NDArray[np.float32]) -> Steps[None]:
    import torch

    for start in range(0, len(images), 16):
        yield Progress("Comparing", start, len(images))
        with torch.inference_mode():
            module(torch.tensor(images[start : start + 16]))


class _Compared:
    """Simulates an int8 layer, and counts differences of codes."""

    def __init__(self, kernel: Kernel) -> None:
        from qexplorer.engine.fake_quant import FakeQuantize

        one = np.array([kernel.scale], np.float32)
        zero = np.array([kernel.zero_point], np.int32)
        spec = QuantSpec.parse("uint8 affine")
        self._kernel = kernel
        self.counts, self._sum, self._largest = np.zeros(WIDEST + 1, np.int64), 0, 0
        self._quantize = FakeQuantize(spec, QuantParams(one, zero, 0, 255))

    def add(self, x: "Tensor", output: "Tensor") -> None:
        expected = self._quantize(self._kernel.compute(x.dequantize()))
        codes = (expected / self._kernel.scale).round().int() + self._kernel.zero_point
        off = (codes - output.int_repr().int()).flatten()
        self.counts += np.bincount(off.abs().clamp(max=WIDEST).numpy(), minlength=WIDEST + 1)
        self._sum += int(off.sum())
        self._largest = max(self._largest, int(off.abs().max()))

    def figures(self, name: str) -> LayerFigures:
        """What the layer's codes differ by, in LSBs."""
        n = int(self.counts.sum())
        return LayerFigures(name, counts=tuple(self.counts.tolist()), equal=int(self.counts[0]) / n,
                            mean_lsb=self._sum / n, largest_lsb=self._largest)  # fmt: skip
