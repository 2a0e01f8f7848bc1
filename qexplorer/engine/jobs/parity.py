"""Simulated against real: the same codes into an int8 kernel and into float arithmetic, and the difference in LSBs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.backends import BACKEND, ENGINES, Kernel, choose_engine
from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.model_job import Conversion, ModelJob, Workshop
from qexplorer.engine.jobs.ptq_static import PRESETS
from qexplorer.engine.jobs.real_overrides import REAL_HELP, float_note, real_recipe, real_weights
from qexplorer.engine.measuring.row import Made
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

    preset: str = setting("x86", "Preset", "The int8 model's observers and scales", choices=PRESETS)
    engine: str = setting("auto", "Engine", "The int8 kernels; auto: the best supported", choices=("auto", *ENGINES))
    overrides: str = setting("", "Overrides", REAL_HELP, minor=True, wide=True, empty="none")
    calibration: int = setting(320, "Calibration samples", "Training images, chosen by the seed", minimum=1, minor=True)
    compared: int = setting(
        64, "Compared samples", "The first so many test samples", minimum=1, maximum=1024, minor=True
    )

    name: ClassVar[str] = "parity"
    title: ClassVar[str] = "Parity"
    help: ClassVar[str] = "How far real int8 kernels are from the simulation, in LSBs per layer"
    order: ClassVar[int] = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        real_recipe(self.overrides)

    def int8_engine(self) -> str:
        return choose_engine(self.engine)

    def convert(self, shop: Workshop) -> Steps[Conversion]:
        batches = shop.batches(self.calibration)
        steps = BACKEND().quantize(shop.module, self.preset, batches, real_weights(self.overrides, shop))
        real = yield from within(steps, 0.0, CONVERTED)
        kernels, others = BACKEND().kernels(real.module)
        seen: dict[str, dict[str, Any]] = {}
        hooks = [kernel.module.register_forward_hook(_Compare(kernel, seen)) for kernel in kernels]
        images = shop.test[0][: self.compared]
        try:
            yield from within(_run(real.module, images), CONVERTED, 1.0)
        finally:
            for hook in hooks:
                hook.remove()
        layers = [{"name": k.name, **_shares(seen[k.name])} for k in kernels if k.name in seen]
        missing = f"Int8 layers that are not compared: {first_few(others)}." if others else ""
        note = " ".join(filter(None, (float_note(real.kept), missing)))
        row = Made(self.preset, BACKEND.kind, self.int8_engine(), real.module, note=note)
        total = sum(sum(layer["counts"]) for layer in layers)
        same = sum(layer["counts"][0] for layer in layers)
        findings = {"compared_samples": len(images), "outputs": total, "equal": same / max(total, 1),
                    "largest_lsb": max((layer["largest_lsb"] for layer in layers), default=0)}  # fmt: skip
        return Conversion((row,), {"preset": real.spec}, layers, sum(map(len, batches)), findings=findings)


def _run(module: Any, images: NDArray[np.float32]) -> Steps[None]:
    import torch

    for start in range(0, len(images), 16):
        yield Progress("Comparing", start, len(images))
        with torch.inference_mode():
            module(torch.tensor(images[start : start + 16]))


class _Compare:
    """A hook that simulates the layer it is on, and counts differences of codes."""

    def __init__(self, kernel: Kernel, seen: dict[str, dict[str, Any]]) -> None:
        from qexplorer.engine.fake_quant import FakeQuantize

        one = np.array([kernel.scale], np.float32)
        zero = np.array([kernel.zero_point], np.int32)
        spec = QuantSpec.parse("uint8 affine")
        self._kernel, self._seen = kernel, seen
        self._quantize = FakeQuantize(spec, QuantParams(one, zero, 0, 255))

    def __call__(self, module: Any, args: Any, output: "Tensor") -> None:
        del module
        expected = self._quantize(self._kernel.compute(args[0].dequantize()))
        codes = (expected / self._kernel.scale).round().int() + self._kernel.zero_point
        off = (codes - output.int_repr().int()).flatten()
        counts = np.bincount(off.abs().clamp(max=WIDEST).numpy(), minlength=WIDEST + 1)
        own = self._seen.setdefault(
            self._kernel.name, {"counts": np.zeros(WIDEST + 1, np.int64), "sum": 0, "largest": 0}
        )
        own["counts"] += counts
        own["sum"] += int(off.sum())
        own["largest"] = max(own["largest"], int(off.abs().max()))


def _shares(own: dict[str, Any]) -> dict[str, Any]:
    n = int(own["counts"].sum())
    return {"counts": own["counts"].tolist(), "equal": int(own["counts"][0]) / n, "mean_lsb": own["sum"] / n,
            "largest_lsb": own["largest"]}  # fmt: skip
