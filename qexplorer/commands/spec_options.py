"""The options of a quantization spec, for every command that takes one."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qexplorer.quant import QuantSpec

OPTIONS = {
    "format": ("int8", "int8, uint4, fp8_e4m3fn, mxfp4, nf4, q4_0, bf16 … (`qexplorer formats` lists all)"),
    "scheme": ("symmetric", "symmetric, affine, or affine_float (a float zero point)"),
    "convention": ("restricted", "restricted, full_span, full_range, no_clipping or signed_extreme"),
    "granularity": (
        "tensor",
        "tensor, channel:AXIS, group:SIZE (along the last axis) or block:ROWSxCOLS (of output channel × the rest)",
    ),
    "scale_dtype": (
        "float32",
        """float32, float16, bfloat16, e8m0 (a power of two, as MX chooses it), e8m0_ceil, e8m0_rceil, e8m0_even,
        e8m0_round, e4m3 (two-level, as NVFP4) or double (quantized scales, as QLoRA)""",
    ),
    "observer": (
        "minmax",
        """minmax, moving_average:0.01, percentile:99.99, mse, lp:P, entropy, histogram (PyTorch's), aciq:gauss, octav,
        hqq, absmean, optimal or fixed:LO,HI""",
    ),
    "rounding": ("half_even", "half_even, half_away, half_up, half_zero, toward_zero or stochastic:SEED"),
    "division": ("reciprocal", "reciprocal (torch) or true (ONNX)"),
}


def add_spec_options(parser: argparse.ArgumentParser) -> None:
    """Add the SPEC options."""
    group = parser.add_argument_group("SPEC options")
    for name, (default, text) in OPTIONS.items():
        option = f"--{name.replace('_', '-')}"
        group.add_argument(option, metavar=name.upper(), help=f"{text}; default {default}")


def spec_from(args: argparse.Namespace) -> "QuantSpec":
    """The spec that the options describe; what they leave out has its default."""
    from qexplorer.quant import QuantSpec

    return QuantSpec.from_json({name: value for name in OPTIONS if (value := getattr(args, name)) is not None})
