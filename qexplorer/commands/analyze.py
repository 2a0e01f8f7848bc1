"""`qexplorer analyze`: quantize tensors and measure what it does to them."""

import argparse
import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from qexplorer.commands import say, say_json, say_table, work
from qexplorer.commands.options import add_options, given
from qexplorer.errors import UserError
from qexplorer.folders import write_whole
from qexplorer.quant import Analysis, QuantSpec, analyze
from qexplorer.quant.metrics import METRICS, sqnr_db
from qexplorer.quant.quantize import quantize
from qexplorer.quant.tensor_source import narrowed, widened
from qexplorer.settings import schema
from qexplorer.text import printable
from qexplorer.weights import Checkpoint, TensorInfo, open_checkpoint

EXAMPLES = """examples:
  qexplorer analyze model.safetensors --tensor conv1.weight --format int4 --observer mse
  qexplorer analyze model.safetensors --all --granularity channel --json
  qexplorer analyze model.safetensors --tensor conv1.weight --codes codes.npy --scale scale.npy"""
ARRAYS = ("dequantized", "codes", "scale", "zero_point")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("path", metavar="PATH", help="a file, a folder, or synthetic:NAME")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--tensor", metavar="NAME", help="one tensor")
    which.add_argument("--all", action="store_true", help="every floating-point tensor")
    parser.add_argument("--histogram", type=int, metavar="N", help="add histograms of about N bins")
    for name in ARRAYS:
        option = name.replace("_", "-")
        parser.add_argument(
            f"--{option}", metavar="FILE.npy", help=f"write the {name.replace('_', ' ')} array of one tensor"
        )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_options(parser.add_argument_group("SPEC options"), schema(QuantSpec), QuantSpec().to_json())


def run(args: argparse.Namespace) -> None:
    """Analyze, print, and write the arrays that were asked for."""
    spec = QuantSpec.from_json(given(args, schema(QuantSpec)))
    if args.histogram is not None and not 2 <= args.histogram <= 1_000_000:
        raise UserError(
            f"A histogram of {args.histogram} bins is not possible.", "Take 2 to 1,000,000.", field="histogram"
        )
    files = {name: Path(getattr(args, name)) for name in ARRAYS if getattr(args, name)}
    if {"scale", "zero_point"} & set(files) and not spec.format.scaled:
        raise UserError(f"{spec.format.name.upper()} has no scale to write.", "Leave --scale and --zero-point out.")
    if files and args.all:
        raise UserError("Arrays can be written of one tensor only.", "Take --tensor NAME.", field="tensor")
    checkpoint = work(open_checkpoint(args.path))
    chosen = [checkpoint.tensor(args.tensor)] if args.tensor else list(checkpoint.tensors)
    reasons = [_skipped(t, spec.for_kind(checkpoint.kind(t).kind)) if args.all else "" for t in chosen]
    skipped = [(t, reason) for t, reason in zip(chosen, reasons, strict=True) if reason]
    results = [
        (t, _analyze(checkpoint, t, spec, args.histogram, files))
        for t, reason in zip(chosen, reasons, strict=True)
        if not reason
    ]
    if args.json:
        document: dict[str, Any] = {"tensors": [_json(t, a, args.histogram) for t, a in results]}
        document["totals"] = _totals(results)
        document["skipped"] = [{"name": t.name, "reason": reason} for t, reason in skipped]
        say_json(document)
    else:
        _print(results)
        if skipped:
            say(f"{len(skipped)} tensors were skipped, the first: {printable(skipped[0][0].name)}: {skipped[0][1]}")


def _skipped(tensor: TensorInfo, spec: QuantSpec) -> str:
    """Why `--all` leaves a tensor out; empty if it does not."""
    if tensor.unsupported:
        return tensor.unsupported
    if not tensor.dtype.startswith(("float", "bfloat")):
        return f"It holds {tensor.dtype}, not floating-point weights."
    return spec.granularity.refusal(tensor.shape)


def _analyze(checkpoint: Checkpoint, tensor: TensorInfo, spec: QuantSpec, bins: int | None,
             files: dict[str, Path]) -> Analysis:  # fmt: skip
    values = work(checkpoint.values_steps(tensor))
    analysis = work(analyze(values, spec, bins=bins or 400, original_bytes=tensor.nbytes))
    if files:
        codes, dequantized, params = quantize(widened(narrowed(values.all())), analysis.applied, analysis.params)
        arrays: dict[str, Any] = {"dequantized": dequantized, "codes": codes, "scale": params.scale}
        arrays["zero_point"] = params.zero_point if params.offset is None else params.offset
        for name, path in files.items():
            _write(path, arrays[name])
    return analysis


def _write(path: Path, array: Any) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_whole(path, buffer.getbuffer())


def _json(tensor: TensorInfo, a: Analysis, bins: int | None) -> dict[str, Any]:
    def span(values: Any, kind: Callable[[Any], Any]) -> dict[str, Any]:
        ends = {"min": kind(values.min()), "max": kind(values.max())} if values.size else {"min": None, "max": None}
        return {"n": int(values.size), **ends}

    scaled = a.spec.format.scaled and a.params.levels is None
    zero_point = span(a.params.zero_point, int) if scaled and a.spec.scheme == "affine" else None
    if a.params.offset is not None:
        zero_point = span(a.params.offset, float)
    metrics = dataclasses.asdict(a.metrics)
    nonfinite = metrics.pop("nonfinite")
    n = metrics.pop("n")
    document = {
        "name": tensor.name,
        "shape": tensor.shape,
        "dtype": tensor.dtype,
        "n": n,
        "nonfinite": nonfinite,
        "spec": a.applied.to_json(),
        "coverage": a.coverage,
        "coverage_n": a.coverage_n,
        "ranged": a.ranged,
        "bounds": a.bounds,
        "bounds_for": "this range" if a.for_this_range else "values",
        "scale": span(a.params.scale, float) if scaled else None,
        "zero_point": zero_point,
        "range": {"min": a.lo, "max": a.hi},
        "metrics": metrics,
    }
    if bins:
        document["histogram"] = {
            "edges": a.bins.edges.tolist(),
            "original": a.original.tolist(),
            "dequantized": a.dequantized.tolist(),
        }
        document["error_histogram"] = {"edges": a.error_bins.edges.tolist(), "counts": a.errors.tolist()}
    return document


def _totals(results: list[tuple[TensorInfo, Analysis]]) -> dict[str, Any]:
    return {
        "params": sum(a.metrics.n for _, a in results),
        "original_bytes": sum(a.metrics.original_bytes for _, a in results),
        "bytes": sum(a.metrics.bytes for _, a in results),
        "sqnr_db": sqnr_db(sum(a.sums.x2 for _, a in results), sum(a.sums.e2 for _, a in results)),
    }


def _print(results: list[tuple[TensorInfo, Analysis]]) -> None:
    shown = [metric for metric in METRICS if metric.column]
    rows = [(printable(t.name), f"{a.metrics.n:,}", *(metric.text(a.metrics) for metric in shown)) for t, a in results]
    titles = ("tensor", "values", *(metric.column for metric in shown))
    say_table(titles, rows, right=range(1, len(titles)))
    totals = _totals(results)
    say(
        f"{results[0][1].spec.title if results else 'nothing'}: {totals['params']:,} values, "
        f"{totals['original_bytes']:,} -> {totals['bytes']:,} bytes, SQNR {totals['sqnr_db']:.2f} dB (exact)"
    )
