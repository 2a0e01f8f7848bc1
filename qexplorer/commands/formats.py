"""`qexplorer formats`: every number format."""

import argparse
import math
from typing import TYPE_CHECKING, Any

from qexplorer.commands import say_json, say_table

if TYPE_CHECKING:
    from qexplorer.quant.formats import Format

GROUPS = (32, 128)
"""Sizes of groups for which bits per weight are given where the format leaves the size open."""
MANY = 1 << 20
"""Groups of the tensor for which they are given, so that what is stored once for a tensor does not count."""
EXAMPLES = """examples:
  qexplorer formats
  qexplorer formats --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> None:
    """List them."""
    from qexplorer.quant.formats import formats

    rows = [_row(form) for form in formats]
    if args.json:
        say_json({"formats": rows})
        return
    titles = ("format", "bits", "range", "levels", "storage", *(f"bits/weight g{size}" for size in GROUPS), "family")
    cells = [
        (
            r["name"],
            f"{r['bits']:g}",
            "learned" if r["levels_learned"] else f"{r['min']:.6g} … {r['max']:.6g}",
            f"{r['levels']:,}",
            r["storage"],
            *("–" if r["bits_per_weight"][size] is None else f"{r['bits_per_weight'][size]:.4g}" for size in GROUPS),
            r["family"],
        )
        for r in rows
    ]
    say_table(titles, cells, right=(1, 3, 5, 6))


def _row(form: "Format") -> dict[str, Any]:
    low, high, levels = form.extent
    learned = math.isinf(high)
    return {
        "name": form.name,
        "family": form.family,
        "help": form.help,
        "bits": form.storage_bits,
        "min": None if learned else low,
        "max": None if learned else high,
        "levels": levels,
        "levels_learned": learned,
        "scaled": form.scaled,
        "storage": _storage(form),
        "bits_per_weight": {size: _bits_per_weight(form, size) for size in GROUPS},
    }


def _storage(form: "Format") -> str:
    from qexplorer.quant import QuantSpec

    spec = QuantSpec(format=form)
    codes = f"{form.storage_bits}-bit codes"
    if not form.scaled:
        return codes
    where = "" if "granularity" in form.applies else f" for {spec.granularity.text}"
    if "scale_dtype" in form.applies:
        return f"{codes}, {spec.scale_dtype.text} scales{where}"
    return f"{codes}, {form.group_bits} bits more{where or ' a group'}"


def _bits_per_weight(form: "Format", size: int) -> float | None:
    """With groups of `size`, or of the format's own size; `None` where the format has no groups."""
    from qexplorer.quant import QuantSpec
    from qexplorer.quant.analysis import size_bits
    from qexplorer.quant.granularity import PerGroup

    spec = QuantSpec(format=form)
    group = PerGroup(size)
    if "granularity" in form.applies:
        if spec.refusal("granularity", group):
            return None
        spec = spec.adopt("granularity", group)
    elif spec.granularity.within_channels:
        tiling = spec.granularity.tiling((MANY, MANY))
        size = tiling.height * tiling.width
    return round(size_bits(spec, MANY * size, MANY) / (MANY * size), 4)
