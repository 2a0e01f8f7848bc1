"""`qexplorer list`: what a file holds."""

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from qexplorer.commands import say, say_json, say_table
from qexplorer.commands.foreground import work
from qexplorer.text import printable

if TYPE_CHECKING:
    from qexplorer.weights import Checkpoint

EXAMPLES = """examples:
  qexplorer list model.safetensors
  qexplorer list folder-of-shards --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("path", metavar="PATH", help="a file, a folder, or synthetic:NAME")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _totals(checkpoint: "Checkpoint") -> dict[str, Any]:
    by_role = {role: dataclasses.asdict(amount) for role, amount in checkpoint.by_role.items()}
    optimizer = checkpoint.by_role.get("optimizer")
    return {
        "tensors": len(checkpoint.tensors),
        "params": checkpoint.parameters,
        "optimizer_values": optimizer.values if optimizer else 0,
        "bytes": checkpoint.nbytes,
        "by_role": by_role,
    }


def run(args: argparse.Namespace) -> None:
    """List the tensors; only headers are read."""
    from qexplorer.weights import open_checkpoint
    from qexplorer.weights.roles import PARAMETERS

    checkpoint = work(open_checkpoint(args.path))
    if args.json:
        tensors = [
            {
                "name": t.name,
                "shape": t.shape,
                "dtype": t.dtype,
                "role": checkpoint.roles[t.name].name,
                "role_reason": checkpoint.roles[t.name].reason,
                "flags": [*(["tied"] if t.tied_to else []), *(["unsupported"] if t.unsupported else [])],
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
                "totals": _totals(checkpoint),
            }
        )
        return
    rows = [
        (printable(t.name), checkpoint.roles[t.name].name, "×".join(map(str, t.shape)) or "scalar", t.dtype,
         f"{t.n:,}", f"{t.nbytes:,}")
        for t in checkpoint.tensors
    ]  # fmt: skip
    say_table(("name", "role", "shape", "dtype", "values", "bytes"), rows, right=(4, 5))
    say(f"{checkpoint.format}: {len(rows):,} tensors, {checkpoint.parameters:,} params, {checkpoint.nbytes:,} bytes")
    others = [f"{role} {n.values:,}" for role, n in checkpoint.by_role.items() if role not in PARAMETERS]
    if others:
        say(f"values that are no params: {', '.join(others)}")
    for warning in checkpoint.warnings:
        say(f"note: {warning}")
    if checkpoint.code_references:
        say(f"note: the file refers to code ({', '.join(map(printable, checkpoint.code_references))}); it was not run")
