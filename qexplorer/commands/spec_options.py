"""The options of a quantization spec, for every command that takes one."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qexplorer.quant import QuantSpec

OPTIONS = {
    "format": ("int8", "int8, uint4, fp8_e4m3fn, nf4, bf16 … (`qexplorer formats` lists all)"),
    "scheme": ("symmetric", "symmetric or affine"),
    "convention": ("restricted", "restricted, full_span, full_range, no_clipping or signed_extreme"),
    "granularity": ("tensor", "tensor, channel:AXIS or group:SIZE (along the last axis)"),
    "observer": ("minmax", "minmax, percentile:99.99, mse, histogram (PyTorch's) or fixed:LO,HI"),
    "rounding": ("half_even", "half_even, half_away, half_up or toward_zero"),
    "division": ("reciprocal", "reciprocal (torch) or true (ONNX)"),
}


def add_spec_options(parser: argparse.ArgumentParser) -> None:
    """Add the SPEC options."""
    group = parser.add_argument_group("SPEC options")
    for name, (default, text) in OPTIONS.items():
        group.add_argument(f"--{name}", metavar=name.upper(), help=f"{text}; default {default}")


def spec_from(args: argparse.Namespace) -> "QuantSpec":
    """The spec that the options describe; what they leave out has its default."""
    from qexplorer.quant import QuantSpec

    return QuantSpec.from_json({name: value for name in OPTIONS if (value := getattr(args, name)) is not None})
