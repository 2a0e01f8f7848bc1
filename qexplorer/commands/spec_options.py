"""The options of a quantization spec, for every command that takes one: the spec's own fields."""

import argparse
from typing import TYPE_CHECKING

from qexplorer.settings import Setting, schema

if TYPE_CHECKING:
    from qexplorer.quant import QuantSpec


def add_spec_options(parser: argparse.ArgumentParser) -> None:
    """Add the SPEC options."""
    from qexplorer.quant import QuantSpec

    group, defaults = parser.add_argument_group("SPEC options"), QuantSpec().to_json()
    for each in schema(QuantSpec):
        text = f"{each.help}: {_values(each)}; default {defaults[each.name]}"
        group.add_argument(f"--{each.name.replace('_', '-')}", metavar=each.name.upper(), help=text.replace("%", "%%"))


def _values(each: Setting) -> str:
    if each.offers:
        return ", ".join(each.offers) + " …"
    return ", ".join(each.registry.texts if each.registry else each.values)


def spec_from(args: argparse.Namespace) -> "QuantSpec":
    """The spec that the options describe; what they leave out has its default."""
    from qexplorer.quant import QuantSpec

    names = [each.name for each in schema(QuantSpec)]
    return QuantSpec.from_json({name: value for name in names if (value := getattr(args, name)) is not None})
