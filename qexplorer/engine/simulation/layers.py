"""One layer quantized: its weights on a grid, its input through a fake-quantize, and what both take."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from qexplorer.engine.fake_quant import FakeQuantize
from qexplorer.engine.simulation.watching import input_of
from qexplorer.errors import UserError
from qexplorer.quant import metrics
from qexplorer.quant.analysis import size_bits
from qexplorer.quant.granularity import PerChannel
from qexplorer.quant.layer_kinds import CONV1D, CONVOLUTION, EMBEDDING, INPUTS, LINEAR, TRANSPOSED, LayerKind, kind_name
from qexplorer.quant.recipe import LayerSpec
from qexplorer.quant.spec import QuantSpec


def kind_of(layer: nn.Module) -> LayerKind:
    """Where the output channels lie in a layer's weights."""
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return TRANSPOSED
    if isinstance(layer, nn.Embedding):
        return EMBEDDING
    if type(layer).__name__ == "Conv1D":  # that of transformers, which is not imported
        return CONV1D
    return LINEAR if isinstance(layer, nn.Linear) else CONVOLUTION


def kinds_of(layers: Mapping[str, nn.Module]) -> dict[str, str]:
    """The kind of each layer, as rules name it."""
    weights: dict[str, Any] = {name: layer.weight for name, layer in layers.items()}
    return {name: kind_name(kind_of(layers[name]), tuple(weight.shape)) for name, weight in weights.items()}


def applied(spec: LayerSpec, layer: nn.Module) -> LayerSpec:
    """The specs of a layer with the axes of its own: weights have channels by its kind, and of what it reads they are
    those that it sums over, in groups for each place alone.
    """
    weights, reads = spec.weights, spec.activations
    if reads is not None and reads.granularity == PerChannel():
        reads = replace(reads, granularity=PerChannel("-1" if isinstance(layer, nn.Linear) else "1"))
    return LayerSpec(weights and weights.for_kind(kind_of(layer)), reads and reads.for_kind(INPUTS))


def weight_quantizer(name: str, weight: Tensor, spec: QuantSpec) -> FakeQuantize:
    """A fake-quantize with the parameters that the spec's observer chooses for these weights.

    Raises `UserError` naming the layer where its shape does not fit the spec.
    """
    try:
        return FakeQuantize(spec).calibrate([weight.detach()])
    except UserError as error:
        what = f"The weights of {name} {list(weight.shape)} do not fit {spec.short}: {error.what}"
        raise UserError(what, "Give this layer another spec in Overrides, or “float”.", field="weight_spec") from error


def dequantized(weight: Tensor, quantizer: FakeQuantize) -> Tensor:
    """The values that the weights have after quantization, in their shape."""
    with torch.no_grad():
        return quantizer(weight)


def layer_bits(weight: Tensor, spec: QuantSpec | None) -> int:
    """The bits of a layer's weights: codes, scales and zero points, or 32 each where it stays float."""
    if spec is None:
        return weight.numel() * 32
    return size_bits(spec, weight.numel(), spec.granularity.tiling(tuple(weight.shape)).groups)


def by_channel(layer: nn.Module, y: Tensor) -> Tensor:
    """A layer's output as `[channels, N]`: they are the last axis of a Linear's, and the one after the samples of a
    convolution's.
    """
    return y.movedim(-1 if isinstance(layer, nn.Linear) else 1, 0).flatten(1)


def sqnr_db(original: Tensor, other: Tensor) -> float:
    """10·log10(Σ x² / Σ (x − x̂)²) in float64 (the CPU's, for some devices have none); infinite where equal."""
    a, b = original.detach().cpu().double(), other.detach().cpu().double()
    return ratio_db(float(a.square().sum()), float((a - b).square().sum()))


def ratio_db(signal: float, noise: float) -> float:
    """10·log10(signal / noise); infinite without noise, 0 where there is neither, and −∞ where noise is not finite."""
    return 0.0 if signal == noise == 0 else metrics.sqnr_db(signal, noise)


def output_error(
    float_layer: nn.Module, layer: nn.Module, float_inputs: list[Tensor], inputs: list[Tensor]
) -> tuple[float, float | None]:
    """Of a layer's output in the quantized model so far, against that in the float model: its SQNR in dB, and the share
    of its squared error that is a shift of channels' means, which a bias could correct; None where there is no error.
    """
    signal = noise = 0.0
    values, shifts = 0, torch.zeros(())
    for x, twin in zip(inputs, float_inputs, strict=True):
        y = float_layer(twin)
        error = by_channel(layer, y - layer(x))
        signal += float(y.square().sum(dtype=torch.float32))
        noise += float(error.square().sum(dtype=torch.float32))
        shifts = shifts + error.sum(dim=1, dtype=torch.float32).cpu()
        values += error.shape[1]
    shifted = float(shifts.square().sum()) / max(values, 1)
    return ratio_db(signal, noise), shifted / noise if 0 < noise < math.inf else None


def input_bits(quantizer: FakeQuantize) -> int:
    """The bits of the scales, and zero points, of what a layer reads; none where each input has its own."""
    params = quantizer.params
    return 0 if params is None else size_bits(quantizer.spec, 0, len(params.scale))


def quantized_input(layer: nn.Module, x: Tensor, quantizer: FakeQuantize) -> Tensor:
    """What a layer reads, quantized. Groups and blocks are cut from the channels, which it sums over and which are put
    last for it: for a convolution they are not the last axis.
    """
    if isinstance(layer, nn.Linear) or not quantizer.spec.granularity.within_channels:
        return quantizer(x)
    return quantizer(x.movedim(1, -1)).movedim(-1, 1)


class QuantizeInput:
    """A hook that a layer's input passes through. It goes wherever the layer is moved to."""

    def __init__(self, quantizer: FakeQuantize) -> None:
        self.quantizer = quantizer

    def __call__(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        x = input_of(args, kwargs)
        return (quantized_input(layer, x, self.quantizer.to(x.device)),), {}


def quantize_input(layer: nn.Module, quantizer: FakeQuantize) -> Any:
    """Let the layer read quantized values; returns the hook's handle."""
    return layer.register_forward_pre_hook(QuantizeInput(quantizer), with_kwargs=True)
