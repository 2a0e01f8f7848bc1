"""The peers of INT4 in groups of 128: other software's way to a tensor's mean squared error, each in its own scheme.

A peer only quantizes, dequantizes and adds up the squared error; ours works out every metric in the same time.
"""

import importlib
import importlib.util
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

GROUP = 128
TOLERANCE = 1e-3
"""How far apart, relatively, the mean squared errors may be: the peers add up in float32."""
SUMMED = 1 << 20


@dataclass(frozen=True)
class Peer:
    """`mse` takes a tensor in the type it is stored in; `spec` is the scheme in which ours does the same."""

    mse: Callable[[Tensor], float]
    spec: Mapping[str, str]


def peers() -> dict[str, Peer]:
    """Those that can be imported, by name."""
    found = {
        "torch operators": Peer(_operators, _spec()),
        "torch fake_quantize_per_channel_affine": Peer(_fake_quantize, _spec()),
    }
    return found | {name: make() for name, (module, make) in _makers().items() if _installed(module)}


def absent() -> list[str]:
    """The names of the peers that are not installed."""
    return [name for name, (module, _) in _makers().items() if not _installed(module)]


def _makers() -> dict[str, tuple[str, Callable[[], Peer]]]:
    return {
        "torchao primitives": ("torchao", _torchao),
        "optimum-quanto": ("optimum.quanto", _quanto),
        "gguf-py Q4_0, groups of 32": ("gguf", _gguf),
    }


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False


def _spec(**changes: str) -> dict[str, str]:
    return {"format": "int4", "granularity": f"group:{GROUP}", **changes}


def mean_square(error: Tensor) -> float:
    """The mean of the squares of a tensor, in the shortest time with which it is right."""
    flat = error.reshape(-1)
    sums = [torch.dot(part, part) for part in flat.split(SUMMED)]  # one sum of float32 over all is off by a thousandth
    return float(torch.stack(sums).double().sum()) / flat.numel()


def _operators(x: Tensor) -> float:
    rows = x.float().view(-1, GROUP)
    scale = rows.abs().amax(1, keepdim=True) / 7
    values = (rows * (1 / scale)).round_().clamp_(-7, 7).mul_(scale)
    return mean_square(values.sub_(rows))


def _fake_quantize(x: Tensor) -> float:
    rows = x.float().view(-1, GROUP)
    scale = rows.abs().amax(1) / 7
    zero = torch.zeros(len(scale), dtype=torch.int32)
    return mean_square(torch.fake_quantize_per_channel_affine(rows, scale, zero, 0, -7, 7).sub_(rows))


def _torchao() -> Peer:
    for name in ("torchao", "torch.utils._pytree"):  # they tell of GPU kernels that are not there
        logging.getLogger(name).setLevel(logging.CRITICAL)
    ao: Any = importlib.import_module("torchao.quantization.quant_primitives")
    block, kind = (1, GROUP), torch.int8

    def mse(x: Tensor) -> float:
        x = x.float()
        scale, zero = ao.choose_qparams_affine(
            x, ao.MappingType.SYMMETRIC, block, kind, -8, 7, 2.0**-126, torch.float32, torch.int32
        )
        codes = ao.quantize_affine(x, block, scale, zero, kind, -8, 7)
        return mean_square(ao.dequantize_affine(codes, block, scale, zero, kind, -8, 7).sub_(x))

    return Peer(mse, _spec(convention="full_span"))


def _quanto() -> Peer:
    quanto: Any = importlib.import_module("optimum.quanto")
    optimizers: Any = importlib.import_module("optimum.quanto.tensor.optimizers")

    def mse(x: Tensor) -> float:
        x = x.float()
        scale, shift = optimizers.MaxOptimizer()(x, quanto.qint4, 0, GROUP)
        codes = quanto.quantize_weight(x, quanto.qint4, 0, scale, shift, group_size=GROUP, optimized=False)
        return mean_square(codes.dequantize().sub_(x))

    return Peer(mse, _spec(format="uint4", scheme="affine_float"))


def _gguf() -> Peer:
    import gguf

    kind = gguf.GGMLQuantizationType.Q4_0

    def mse(x: Tensor) -> float:
        rows = x.float().numpy()
        values = gguf.quants.dequantize(gguf.quants.quantize(rows, kind), kind)
        return mean_square(torch.from_numpy(values).sub_(torch.from_numpy(rows)))

    return Peer(mse, {"format": "q4_0"})
