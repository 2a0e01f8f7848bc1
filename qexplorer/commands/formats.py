"""`qexplorer formats`: every number format."""

import argparse
from typing import Any

from qexplorer.commands import say_json, say_table

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
                "bits_per_weight": form.storage_bits,
            }
        )
    if args.json:
        say_json({"formats": rows})
        return
    titles = ("format", "bits", "range", "levels", "storage", "family")
    cells = [
        (r["name"], str(r["bits"]), f"{r['min']:.6g} … {r['max']:.6g}", f"{r['levels']:,}", r["storage"], r["family"])
        for r in rows
    ]
    say_table(titles, cells, right=(1, 3))
