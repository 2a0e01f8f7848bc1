"""`qexplorer list`: what a file holds."""

import argparse

from qexplorer.commands import say, say_json, say_table, work
from qexplorer.text import printable

EXAMPLES = """examples:
  qexplorer list model.safetensors
  qexplorer list folder-of-shards --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("path", metavar="PATH", help="a file, a folder, or synthetic:NAME")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> None:
    """List the tensors; only headers are read."""
    from qexplorer.weights import open_checkpoint

    checkpoint = work(open_checkpoint(args.path))
    if args.json:
        tensors = [
            {
                "name": t.name,
                "shape": t.shape,
                "dtype": t.dtype,
                "scheme": None,
                "params": t.n,
                "bytes": t.nbytes,
                "file": t.file.name,
                "tied_to": t.tied_to or None,
                "unsupported": t.unsupported or None,
                "kind": checkpoint.kind(t).text,
                "output_axis": checkpoint.kind(t).kind.output_axis(len(t.shape)),
            }
            for t in checkpoint.tensors
        ]
        say_json(
            {
                "path": str(checkpoint.path),
                "format": checkpoint.format,
                "tensors": tensors,
                "metadata": dict(checkpoint.metadata),
                "warnings": checkpoint.warnings,
                "code_references": checkpoint.code_references,
                "totals": {"tensors": len(tensors), "params": checkpoint.n, "bytes": checkpoint.nbytes},
            }
        )
        return
    rows = [
        (printable(t.name), "×".join(map(str, t.shape)) or "scalar", t.dtype, f"{t.n:,}", f"{t.nbytes:,}")
        for t in checkpoint.tensors
    ]
    say_table(("name", "shape", "dtype", "params", "bytes"), rows, right=(3, 4))
    say(f"{checkpoint.format}: {len(rows):,} tensors, {checkpoint.n:,} params, {checkpoint.nbytes:,} bytes")
    for warning in checkpoint.warnings:
        say(f"note: {warning}")
    if checkpoint.code_references:
        say(f"note: the file refers to code ({', '.join(map(printable, checkpoint.code_references))}); it was not run")
