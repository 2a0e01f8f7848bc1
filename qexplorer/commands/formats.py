"""`qexplorer formats`: every number format."""

import argparse
from typing import Any

from qexplorer.commands import say_json, say_table

GROUPS = (32, 128)
"""Sizes of groups for which bits per weight are given, with a float32 scale each."""
EXAMPLES = """examples:
  qexplorer formats
  qexplorer formats --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> None:
    """List them."""
    from qexplorer.quant.formats import formats

    rows: list[dict[str, Any]] = []
    for form in formats.values():
        low, high, levels = form.extent
        rows.append(
            {
                "name": form.name,
                "family": form.family,
                "bits": form.storage_bits,
                "min": low,
                "max": high,
                "levels": levels,
                "scaled": form.scaled,
                "storage": f"{form.storage_bits}-bit codes" + (", float32 scales" if form.scaled else ""),
                "scale_bits": 32 if form.scaled else 0,
                "bits_per_weight": {size: form.storage_bits + (32 / size if form.scaled else 0) for size in GROUPS},
            }
        )
    if args.json:
        say_json({"formats": rows})
        return
    titles = ("format", "bits", "range", "levels", "storage", *(f"bits/weight g{size}" for size in GROUPS), "family")
    cells = [
        (
            r["name"],
            str(r["bits"]),
            f"{r['min']:.6g} … {r['max']:.6g}",
            f"{r['levels']:,}",
            r["storage"],
            *(f"{r['bits_per_weight'][size]:g}" for size in GROUPS),
            r["family"],
        )
        for r in rows
    ]
    say_table(titles, cells, right=(1, 3, 5, 6))
