"""Static quantization by torch.ao in graph mode (FX). torch.ao is deprecated, so it is named in this file only."""

import copy
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qexplorer.engine.backends import Backend, Kernel, Preset, Quantized, Weights, backends
from qexplorer.engine.models.state_dict import SCALE_BYTES, ZERO_POINT_BYTES, theoretical_bytes
from qexplorer.engine.runs.layer_figures import LayerFigures
from qexplorer.engine.runs.results import REAL
from qexplorer.engine.runs.run_spec import KernelSpec, ObserverFacts
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps
from qexplorer.quant.recipe import LayerSpec
from qexplorer.quant.spec import QuantSpec

if TYPE_CHECKING:
    from torch import nn

PREPARED, CALIBRATED = 0.1, 0.7
"""Where calibration begins and ends, as fractions of the whole."""
WEIGHTS = {"pytorch_default": "int8 full_span", "x86": "int8 full_span channel:0"}
"""What the presets do to weights."""
UNFIT = (TypeError, RuntimeError, ValueError, NotImplementedError, AttributeError, AssertionError)
"""What the library raises where it does not know what to do with a model."""
PADDINGS = ("zeros", "reflect")
SHAPE = (("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"),
         ("in_features", "out_features"))  # fmt: skip
"""What a convolution and a linear layer are made with."""


@backends.register
@dataclass(frozen=True)
class GraphMode(Backend):
    """prepare_fx and convert_fx with the qconfigs that torch itself comes with."""

    name: ClassVar[str] = "graph_mode"
    title: ClassVar[str] = "torch.ao, graph mode"
    help: ClassVar[str] = "fuses Conv + BatchNorm + ReLU and converts to torch's own int8 kernels"
    kind: ClassVar[str] = REAL
    weights: ClassVar[tuple[str, ...]] = ("int8", "int8 channel:0", "int8 full_span", "int8 full_span channel:0",
                                          "int8 histogram", "int8 full_span histogram")  # fmt: skip
    presets: ClassVar[tuple[Preset, ...]] = (
        Preset(
            "pytorch_default", "PyTorch default", "One scale per weight tensor; min/max observers (default_qconfig)"
        ),
        Preset("x86", "x86", "One scale per output channel; histogram observers (get_default_qconfig_mapping)"),
    )

    def quantize(self, module: "nn.Module", preset: str, batches: Sequence[NDArray[np.float32]],
                 weights: Weights | None = None) -> Steps[Quantized]:  # fmt: skip
        import torch

        own = dict(weights or {})
        example = (torch.tensor(batches[0][:1]),)
        yield Progress("Fusing", fraction=0.0)
        with _quietly():
            from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

            mapping = _mapping(preset, own)
        fused = _fused(module)
        with _quietly():
            _settle_paddings(fused, own)
        yield Progress("Preparing", fraction=PREPARED / 2)
        with _quietly(), _fitting("prepared for", "simulation takes it as it is"):
            prepared = prepare_fx(copy.deepcopy(fused), mapping, example)
        for i, batch in enumerate(batches):
            fraction = PREPARED + (CALIBRATED - PREPARED) * i / len(batches)
            yield Progress("Calibrating", i, len(batches), fraction)
            with _quietly(), _fitting("calibrated for", "simulation takes it as it is"), torch.inference_mode():
                prepared.forward(torch.tensor(batch))  # torch prints the graph where one that is called fails
        yield Progress("Converting", fraction=CALIBRATED)
        with _quietly():
            with _fitting("converted to", "simulation takes it as it is"):
                converted = convert_fx(prepared)
                _settle_clamps(converted)
                with torch.inference_mode():
                    converted.forward(*example)  # some steps are refused only now
                    converted.state_dict()  # and some weights cannot be unpacked
            spec = _describe(mapping.global_qconfig)
            layers = _layers(fused, converted, QuantSpec.parse(WEIGHTS[preset]), own)
        if own:
            _check(own, layers)
            spec = replace(spec, layers={name: LayerSpec(each).text for name, each in own.items()})
        elif not any(layer is None or hasattr(layer, "_packed_params") for layer in _int8(converted).values()):
            raise UserError("The model has no layer that int8 kernels compute.", "Layers are convolutions and linear "
                            "maps.", field="model")  # fmt: skip
        return Quantized(converted, spec, layers, _kept(converted))

    def quantize_dynamic(self, module: "nn.Module", kept: Iterable[str] = ()) -> Quantized:
        from torch import nn

        from qexplorer.engine.networks.encoders import call_layers
        from qexplorer.engine.simulation.layers import sqnr_db

        with _quietly():
            from torch.ao.nn.quantized import dynamic as nnqd
            from torch.ao.quantization import quantize_dynamic
            from torch.ao.quantization.qconfig import default_dynamic_qconfig

            mapping = {nn.Linear: default_dynamic_qconfig, nn.LSTM: default_dynamic_qconfig, **dict.fromkeys(kept)}
            converted = quantize_dynamic(copy.deepcopy(module), mapping)
        call_layers(converted)
        layers: list[LayerFigures] = []
        size = theoretical_bytes(module.state_dict())
        for name, own in converted.named_modules():
            if not isinstance(own, nnqd.Linear | nnqd.LSTM):
                continue
            original: Any = module.get_submodule(name)
            matrices = [p for n, p in original.named_parameters() if n.startswith("weight")]
            size += sum(SCALE_BYTES + ZERO_POINT_BYTES - 3 * matrix.numel() for matrix in matrices)
            if isinstance(own, nnqd.Linear):
                sqnr = sqnr_db(original.weight, own.weight().dequantize())
                layers.append(LayerFigures(name, shape=tuple(original.weight.shape), weight_sqnr_db=sqnr))
            else:
                layers.append(LayerFigures(name, shape=(own.hidden_size, own.input_size)))
        spec = KernelSpec("int8 per tensor, symmetric", "uint8 per tensor, anew for each input")
        return Quantized(converted, spec, tuple(layers), _kept(converted), size)

    def kernels(self, module: "nn.Module") -> tuple[list[Kernel], list[str]]:
        found: list[Kernel] = []
        others: list[str] = []
        for name, layer in _int8(module).items():
            twin = _twin(layer)
            if twin is None:
                others.append(name)
            else:
                found.append(Kernel(name, layer, twin, float(layer.scale), int(layer.zero_point)))
        return found, others


def _fused(module: "nn.Module") -> "nn.Module":
    """A float copy with batch norm folded into convolutions. Raises `UserError` where the module cannot be traced."""
    with _quietly(), _fitting("traced for", "simulation needs no graph"):
        from torch.ao.quantization.quantize_fx import fuse_fx

        return fuse_fx(copy.deepcopy(module))


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence torch.ao's notices about itself. Never held across a yield: filters belong to the whole process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"torch\.ao\.quantization is deprecated", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.ao\.")
        yield


@contextmanager
def _fitting(doing: str, instead: str) -> Iterator[None]:
    """Say what the library raises of a model that it does not know what to do with."""
    try:
        yield
    except UNFIT as error:
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        remedy = f"Take PTQ static with the preset “none” and a spec: {instead}."
        raise UserError(f"This model cannot be {doing} int8 kernels: {reason}.", remedy, field="preset") from error


def _mapping(preset: str, own: Weights) -> Any:
    from torch.ao.quantization.qconfig import QConfig, default_qconfig
    from torch.ao.quantization.qconfig_mapping import QConfigMapping, get_default_qconfig_mapping

    mapping: Any = (QConfigMapping().set_global(default_qconfig) if preset == "pytorch_default"
                    else get_default_qconfig_mapping("x86"))  # fmt: skip
    activation: Any = mapping.global_qconfig.activation
    for name, spec in own.items():
        mapping.set_module_name(name, None if spec is None else QConfig(activation, _weight_observer(spec)))
    return mapping


def _weight_observer(spec: QuantSpec) -> Any:
    """What makes the observer that gives weights the scales of the spec, to the bit where none is below 2⁻²³."""
    import torch
    from torch.ao.quantization.observer import HistogramObserver, MinMaxObserver, PerChannelMinMaxObserver

    channels = spec.granularity.per_channel
    one: Any = HistogramObserver if spec.observer.name == "histogram" else MinMaxObserver
    kind: Any = PerChannelMinMaxObserver if channels else one
    scheme = torch.per_channel_symmetric if channels else torch.per_tensor_symmetric
    least = -127 if spec.convention == "restricted" else -128
    return kind.with_args(dtype=torch.qint8, qscheme=scheme, quant_min=least, quant_max=127)


def _describe(qconfig: Any) -> KernelSpec:
    """What a qconfig's observers do, asked of the observers themselves."""
    return KernelSpec(_observer(qconfig.weight()), _observer(qconfig.activation()))


def _observer(observer: Any) -> ObserverFacts:
    return ObserverFacts(
        type(observer).__name__,
        str(observer.dtype).removeprefix("torch."),
        str(observer.qscheme).removeprefix("torch."),
        observer.quant_min,
        observer.quant_max,
    )


def _apart(graph: "nn.Module") -> "Iterator[tuple[str, nn.Module]]":
    """The modules of a fused one by the names that they had before; one that was fused stands first in its part."""
    from torch.ao.nn.intrinsic.modules.fused import _FusedModule

    parts = ""
    for name, module in graph.named_modules():
        layer: Any = module
        if isinstance(module, _FusedModule):
            parts, layer = f"{name}.", module[0]
        if not (parts and name.startswith(parts)):
            yield name, layer


def _weighted(graph: "nn.Module") -> "Iterator[tuple[str, nn.Module]]":
    """The layers among them that weights are chosen for: not transposed convolutions, which have torch's own."""
    from qexplorer.engine.simulation.prepared import TRANSPOSED, is_layer

    return ((name, layer) for name, layer in _apart(graph) if is_layer(layer) and not isinstance(layer, TRANSPOSED))


def _kept(converted: "nn.Module") -> list[str]:
    """What has weights, of two axes or more, that are float32 when it computes."""
    import torch
    from torch import fx, nn

    nodes = converted.graph.nodes if isinstance(converted, fx.GraphModule) else ()
    stored = [node for node in nodes if node.op == "get_attr"]
    rounded = {str(n.target) for n in stored if all(user.target is torch.quantize_per_tensor for user in n.users)}
    kept: list[str] = []
    for name, layer in _apart(converted):
        own = [path for path, p in layer.named_parameters(name, recurse=False) if p.ndim > 1 and path not in rounded]
        if own and not isinstance(layer, nn.LayerNorm):
            kept += [name] if name else own
    return kept


def _int8(converted: Any) -> "dict[str, Any]":
    """What has weights and computes in int8, in the order in which it runs; None for a function, named as its step."""
    found: dict[str, Any] = {}
    for node in converted.graph.nodes:
        module = converted.get_submodule(node.target) if node.op == "call_module" else None
        packed = any(str(each.target).startswith("_packed_weight") for each in node.all_input_nodes)
        if packed or (hasattr(module, "weight") and hasattr(module, "zero_point")):
            found[node.name if packed else node.target] = module
    return found


def _twin(layer: Any) -> "nn.Module | None":
    """A linear or convolutional int8 layer in float arithmetic, its weights dequantized; None for any other."""
    from torch import nn

    name = type(layer).__name__  # one with its ReLU is a ConvReLU2d
    kind: Any = getattr(nn, name.replace("ReLU", ""), None)
    if kind is None or not hasattr(layer, "_packed_params"):
        return None
    parts = [*SHAPE[kind is nn.Linear], *["output_padding"] * name.startswith("ConvTranspose")]
    twin: Any = kind(**{part: getattr(layer, part) for part in parts}, device="meta")
    bias = layer.bias()
    twin.weight = nn.Parameter(layer.weight().dequantize(), requires_grad=False)
    twin.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
    return nn.Sequential(twin, nn.ReLU()) if "ReLU" in name else twin


def _settle_paddings(fused: "nn.Module", own: Weights) -> None:
    """Give paddings of layers to be converted in numbers. Raises `UserError` naming a layer that no kernel takes."""
    from torch import nn

    from qexplorer.engine.networks.aten_layers import in_pixels

    for name, layer in _weighted(fused):
        if isinstance(layer, nn.Linear) or own.get(name, True) is None:
            continue
        conv: Any = layer
        if isinstance(conv.padding, str):
            conv.padding = in_pixels(conv.padding, conv.kernel_size, conv.dilation)
        if isinstance(conv.padding, str) or conv.padding_mode not in PADDINGS:
            how = f"“{conv.padding}” by unequal sides" if isinstance(conv.padding, str) else f"by “{conv.padding_mode}”"
            remedy = f"Write “{name}=float” in Overrides, or take the preset “none”: a SIMULATED run takes it."
            raise UserError(f"{name} pads {how}, which no int8 kernel does.", remedy, field="overrides")


def _settle_clamps(converted: Any) -> None:
    """Let QNNPACK's clamps read contiguous tensors: of channels_last ones, which its convolutions give, they mix up the
    values (seen with torch 2.13).
    """
    import torch
    from torch import nn
    from torch.ao.nn import quantized as nnq
    from torch.nn import functional as F  # noqa: N812  torch's own name for it

    if torch.backends.quantized.engine != "qnnpack":
        return
    clamps = (F.relu6, F.hardtanh, F.hardtanh_, torch.clamp, torch.clip, "clamp", "clamp_", "clip", "clip_")
    for node in list(converted.graph.nodes):
        module = converted.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(module, nnq.ReLU6 | nn.Hardtanh) or (module is None and node.target in clamps):
            x = node.args[0] if node.args else node.kwargs["input"]
            with converted.graph.inserting_before(node):
                node.replace_input_with(x, converted.graph.call_method("contiguous", (x,)))
    converted.recompile()


def _layers(fused: "nn.Module", converted: "nn.Module", usual: QuantSpec, own: Weights) -> tuple[LayerFigures, ...]:
    """Per layer the spec of its weights, their SQNR in dB, batch norm folded in, and their bits; as in simulations."""
    from torch.ao.nn import quantized as nnq

    from qexplorer.engine.simulation.layers import layer_bits, sqnr_db

    layers: list[LayerFigures] = []
    for name, layer in _weighted(fused):
        weight: Any = layer.weight
        made: Any = converted.get_submodule(name)
        int8 = isinstance(made, nnq.Conv1d | nnq.Conv2d | nnq.Conv3d | nnq.Linear)
        spec = (own.get(name) or usual) if int8 else None
        figures = LayerFigures(
            name,
            shape=tuple(weight.shape),
            spec=LayerSpec(spec).text,
            weight_sqnr_db=sqnr_db(weight, made.weight().dequantize()) if int8 else math.inf,
            bits=layer_bits(weight, spec) / weight.numel(),
        )
        layers.append(figures)
    return tuple(layers)


def _check(own: Weights, layers: Iterable[LayerFigures]) -> None:
    """Raise a `UserError` for a layer that did not become what was asked for it."""
    found = {layer.name: layer.spec for layer in layers}
    for name, spec in own.items():
        asked = LayerSpec(spec).text
        if found.get(name) != asked:
            what = f"{name} cannot be “{asked}” in int8 kernels: traced for them, it is not a layer of its own."
            raise UserError(what, "Leave it out of Overrides, or take the preset “none”: a SIMULATED run takes every "
                            "format.", field="overrides")  # fmt: skip
