"""Static quantization by torch.ao in graph mode (FX). torch.ao is deprecated, so it is named in this file only."""

import copy
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.backends import Backend, Kernel, Preset, Quantized, backends
from qexplorer.engine.results import REAL
from qexplorer.engine.state_dict import SCALE_BYTES, ZERO_POINT_BYTES, theoretical_bytes
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps

if TYPE_CHECKING:
    from torch import Tensor, nn

PREPARED, CALIBRATED = 0.1, 0.7
"""Where calibration begins and ends, as fractions of the whole."""


@backends.register
@dataclass(frozen=True)
class GraphMode(Backend):
    """prepare_fx and convert_fx with the qconfigs that torch itself comes with."""

    name: ClassVar[str] = "graph_mode"
    title: ClassVar[str] = "torch.ao, graph mode"
    help: ClassVar[str] = "fuses Conv + BatchNorm + ReLU and converts to torch's own int8 kernels"
    kind: ClassVar[str] = REAL
    presets: ClassVar[tuple[Preset, ...]] = (
        Preset(
            "pytorch_default", "PyTorch default", "One scale per weight tensor; min/max observers (default_qconfig)"
        ),
        Preset("x86", "x86", "One scale per output channel; histogram observers (get_default_qconfig_mapping)"),
    )

    def fuse(self, module: "nn.Module") -> "nn.Module":
        from torch.fx.proxy import TraceError

        with _quietly():
            from torch.ao.quantization.quantize_fx import fuse_fx

            try:
                return fuse_fx(copy.deepcopy(module))
            except (TraceError, TypeError, RuntimeError, ValueError, NotImplementedError, AttributeError) as error:
                what = f"This model cannot be traced for int8 kernels: {str(error).splitlines()[0]}."
                raise UserError(what, "Take the preset “none” and a spec: simulation needs no graph.",
                                field="preset") from error  # fmt: skip

    def quantize(self, module: "nn.Module", preset: str, batches: Sequence[NDArray[np.float32]]) -> Steps[Quantized]:
        import torch

        example = (torch.tensor(batches[0][:1]),)
        yield Progress("Fusing", fraction=0.0)
        with _quietly():
            from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

            mapping = _mapping(preset)
        fused = self.fuse(module)
        yield Progress("Preparing", fraction=PREPARED / 2)
        with _quietly():
            prepared = prepare_fx(copy.deepcopy(fused), mapping, example)
        for i, batch in enumerate(batches):
            fraction = PREPARED + (CALIBRATED - PREPARED) * i / len(batches)
            yield Progress("Calibrating", i, len(batches), fraction)
            with _quietly(), torch.inference_mode():
                prepared(torch.tensor(batch))
        yield Progress("Converting", fraction=CALIBRATED)
        with _quietly():
            converted = convert_fx(prepared)
            spec = _describe(mapping.global_qconfig)
            layers = _layers(fused, converted)
        return Quantized(converted, spec, layers)

    def quantize_dynamic(self, module: "nn.Module") -> Quantized:
        import torch
        from torch import nn

        with _quietly():
            from torch.ao.nn.quantized import dynamic as nnqd
            from torch.ao.quantization import quantize_dynamic

            converted = quantize_dynamic(copy.deepcopy(module), {nn.Linear, nn.LSTM}, dtype=torch.qint8)
        layers: list[dict[str, Any]] = []
        size = theoretical_bytes(module.state_dict())
        for name, own in converted.named_modules():
            if not isinstance(own, nnqd.Linear | nnqd.LSTM):
                continue
            original: Any = module.get_submodule(name)
            matrices = [p for n, p in original.named_parameters() if n.startswith("weight")]
            size += sum(SCALE_BYTES + ZERO_POINT_BYTES - 3 * matrix.numel() for matrix in matrices)
            if isinstance(own, nnqd.Linear):
                weight, sqnr = _error(original.weight, own.weight().dequantize())
                layers.append({"name": name, "shape": list(weight.shape), "weight_sqnr_db": sqnr})
            else:
                layers.append({"name": name, "shape": [own.hidden_size, own.input_size]})
        spec = {"weights": "int8 per tensor, symmetric", "activations": "uint8 per tensor, anew for each input"}
        return Quantized(converted, spec, layers, size)

    def kernels(self, module: "nn.Module") -> list[Kernel]:
        from torch.ao.nn import intrinsic as nni
        from torch.ao.nn import quantized as nnq
        from torch.nn import functional as F  # noqa: N812  torch's own name for it

        found: list[Kernel] = []
        for name, own in module.named_modules():
            if not isinstance(own, nnq.Conv2d | nnq.Linear):
                continue
            weight, bias = own.weight().dequantize(), own.bias()
            relu = isinstance(own, nni.quantized.ConvReLU2d | nni.quantized.LinearReLU)

            def compute(x: Any, own: Any = own, weight: Any = weight, bias: Any = bias, relu: bool = relu) -> Any:
                if isinstance(own, nnq.Linear):
                    y = F.linear(x, weight, bias)
                else:
                    y = F.conv2d(x, weight, bias, own.stride, own.padding, own.dilation, own.groups)
                return y.relu() if relu else y

            found.append(Kernel(name, own, compute, float(own.scale), int(own.zero_point), "quint8"))
        return found


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence torch.ao's notices about itself. Never held across a yield: filters belong to the whole process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"torch\.ao\.quantization is deprecated", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.ao\.")
        yield


def _mapping(preset: str) -> Any:
    from torch.ao.quantization.qconfig import default_qconfig
    from torch.ao.quantization.qconfig_mapping import QConfigMapping, get_default_qconfig_mapping

    if preset == "pytorch_default":
        return QConfigMapping().set_global(default_qconfig)
    return get_default_qconfig_mapping("x86")


def _describe(qconfig: Any) -> dict[str, Any]:
    """What a qconfig's observers do, asked of the observers themselves."""
    return {"weights": _observer(qconfig.weight()), "activations": _observer(qconfig.activation())}


def _observer(observer: Any) -> dict[str, Any]:
    return {
        "observer": type(observer).__name__,
        "dtype": str(observer.dtype).removeprefix("torch."),
        "scheme": str(observer.qscheme).removeprefix("torch."),
        "quant_min": observer.quant_min,
        "quant_max": observer.quant_max,
    }


def _layers(fused: "nn.Module", converted: "nn.Module") -> list[dict[str, Any]]:
    """Per int8 layer the SQNR in dB of its weights, 10 log10(Σw² / Σ(w - ŵ)²), batch norm folded in."""
    from torch import nn
    from torch.ao.nn import quantized as nnq

    layers: list[dict[str, Any]] = []
    for name, module in converted.named_modules():
        if not isinstance(module, nnq.Conv2d | nnq.Linear):
            continue
        original: Any = fused.get_submodule(name)
        original = original[0] if isinstance(original, nn.Sequential) else original  # Conv + ReLU, fused
        weight, sqnr = _error(original.weight, module.weight().dequantize())
        layers.append({"name": name, "shape": list(weight.shape), "weight_sqnr_db": sqnr})
    return layers


def _error(original: "Tensor", dequantized: "Tensor") -> "tuple[Tensor, float | str]":
    """The original weight, and the SQNR in dB of what stands in for it."""
    weight = original.detach().double()
    noise = float((weight - dequantized.double()).square().sum())
    return weight, 10 * math.log10(float(weight.square().sum()) / noise) if noise else "inf"
