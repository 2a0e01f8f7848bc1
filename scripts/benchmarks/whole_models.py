"""What jobs do to a whole model: every layer's sensitivity, and calibration, on the bundled MobileNetV2."""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from qexplorer.engine.datasets import Data, open_dataset
from qexplorer.engine.models import models
from qexplorer.engine.simulation.calibrate import calibrate
from qexplorer.engine.simulation.one_at_a_time import outputs_with_swaps, swapped
from qexplorer.engine.simulation.prepared import Prepared, prepare
from qexplorer.engine.simulation.simulate import Plan, simulate
from qexplorer.progress import finish
from qexplorer.quant.recipe import Recipe
from qexplorer.quant.spec import QuantSpec

from . import data
from .figures import DifferenceError, Figure, alternate, at_least, at_most, say

IMAGES, QUICK_IMAGES = 1500, 64
CALIBRATED, QUICK_CALIBRATED = 320, 64
BATCH = 64
SENSITIVITY_S = 40.0


def measure(names: Sequence[str], quick: bool) -> Iterator[Figure]:
    """The figures of these names."""
    torch.set_num_threads(data.threads())
    model = models["mobilenet_v2_digits"]()
    module = finish(model.load(model.resolve(None)))
    digits = finish(open_dataset("digits"))
    prepared = prepare(module, torch.tensor(digits.x_test[:2]))
    if "sensitivity" in names:
        yield _sensitivity(prepared, digits, quick)
    if "calibration" in names:
        yield _calibration(prepared, digits, quick)


def _sensitivity(prepared: Prepared, digits: Data, quick: bool) -> Figure:
    n = QUICK_IMAGES if quick else IMAGES
    x = torch.tensor(np.resize(digits.x_train, (n, *digits.x_train.shape[1:])))
    made = finish(simulate(prepared, Plan(Recipe.parse("int4 channel:0", "", ""))))
    base, other, names = made.float_model, made.model, list(made.model.layers)

    def ours(count: int = n) -> dict[str, Any]:
        found: dict[str, list[Any]] = {name: [] for name in names}
        for start in range(0, count, BATCH):
            for name, out in outputs_with_swaps(base, other, x[start : start + BATCH][: count - start], names):
                found[name].append(out)
        return found

    def whole(count: int = n) -> dict[str, Any]:
        found: dict[str, list[Any]] = {name: [] for name in names}
        with torch.no_grad():
            for name in names:
                with swapped(base, other, name):
                    for start in range(0, count, BATCH):
                        found[name].append(base.module(x[start : start + BATCH][: count - start]))
        return found

    say("comparing sensitivities with whole evaluations")
    a, b = ours(BATCH), whole(BATCH)
    if not all(torch.equal(p, q) for name in names for p, q in zip(a[name], b[name], strict=True)):
        raise DifferenceError("sensitivity: the outputs are not those of whole evaluations")
    runs = 1 if quick else 3
    seconds = alternate({"ours": ours, "whole": whole}, runs)
    bars = [at_least(">= 1.8x whole evaluations", seconds["whole"] / seconds["ours"], 1.8)]
    if not quick:
        bars.append(at_most("<= 40 s for 1,500 images", seconds["ours"], SENSITIVITY_S))
    return Figure(
        name="sensitivity",
        work=f"MobileNetV2, {len(names)} layers, each quantized alone to INT4, {n} images of 32 x 32",
        ours_s=seconds["ours"],
        peer="the whole model run once per layer",
        peer_s=seconds["whole"],
        limit="the bar's time",
        limit_s=SENSITIVITY_S,
        runs=runs,
        bars=tuple(bars),
    )


def _calibration(prepared: Prepared, digits: Data, quick: bool) -> Figure:
    n = QUICK_CALIBRATED if quick else CALIBRATED
    batches = [digits.x_train[start : start + 32] for start in range(0, n, 32)]
    spec = QuantSpec.parse("uint8 affine histogram")

    def ours(own: QuantSpec = spec) -> dict[str, tuple[float, int]]:
        found = finish(calibrate(prepared, dict.fromkeys(prepared.layers, own), batches))
        params = {name: fake.params for name, fake in found.items()}
        return {k: (float(p.scale[0]), int(p.zero_point[0])) for k, p in params.items() if p is not None}

    say("comparing with torch.ao's histogram observers")
    theirs = _torch_ao(prepared, batches)
    inputs = _inputs(prepared, batches[:2])
    errors = {"ours": _error(inputs, ours()), "torch": _error(inputs, theirs)}
    if errors["ours"] > errors["torch"] * 1.001:
        raise DifferenceError(f"calibration: our mean squared error is larger, {errors}")
    seconds = alternate({"ours": ours, "torch": lambda: _torch_ao(prepared, batches)}, 1 if quick else 5)
    return Figure(
        name="calibration",
        work=f"MobileNetV2, the inputs of {len(prepared.layers)} layers, {n} images, histogram observers",
        ours_s=seconds["ours"],
        peer="torch.ao's HistogramObserver on the same inputs",
        peer_s=seconds["torch"],
        limit="running the float model alone",
        limit_s=alternate({"run": lambda: _run(prepared, batches)}, 1 if quick else 3)["run"],
        runs=1 if quick else 5,
        bars=(at_least(">= 2x torch.ao at no larger error", seconds["torch"] / seconds["ours"], 2),),
        more={"errors": errors},
    )


class Look:
    """A hook that hands a layer's input on, and leaves it as it is."""

    def __init__(self, to: Callable[[Any], object]) -> None:
        self._to = to

    def __call__(self, layer: Any, args: tuple[Any, ...]) -> None:
        del layer
        self._to(args[0])


def _run(prepared: Prepared, batches: Sequence[Any]) -> None:
    with torch.inference_mode():
        for batch in batches:
            prepared.module(torch.tensor(batch))


def _torch_ao(prepared: Prepared, batches: Sequence[Any]) -> dict[str, tuple[float, int]]:
    """Scale and zero point of each layer's input by torch's own observers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.ao.quantization.observer import HistogramObserver

        own = Prepared(copy.deepcopy(prepared.module), {}, traced=True)
        observers = {name: HistogramObserver(dtype=torch.quint8) for name in prepared.layers}
        for name, observer in observers.items():
            own.module.get_submodule(name).register_forward_pre_hook(Look(observer))
        _run(own, batches)
        found = {name: observer.calculate_qparams() for name, observer in observers.items()}
    return {name: (float(scale), int(zero)) for name, (scale, zero) in found.items()}


def _inputs(prepared: Prepared, batches: Sequence[Any]) -> dict[str, list[torch.Tensor]]:
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in prepared.layers}
    handles = [
        layer.register_forward_pre_hook(Look(lambda x, kept=seen[name]: kept.append(x.clone())))
        for name, layer in prepared.layers.items()
    ]
    _run(prepared, batches)
    for handle in handles:
        handle.remove()
    return seen


def _error(inputs: dict[str, list[torch.Tensor]], params: dict[str, tuple[float, int]]) -> float:
    """The mean over layers of Σ e² / Σ x² of 8-bit codes."""
    shares: list[float] = []
    for name, tensors in inputs.items():
        scale, zero = params[name]
        x = torch.cat([t.flatten() for t in tensors])
        off = torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255) - x
        shares.append(float(off.square().sum() / x.square().sum()))
    return float(np.mean(shares))
