"""`qexplorer analyze`: quantize tensors and measure what it does to them."""

import argparse
import dataclasses
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qexplorer.commands import say, say_json, say_table
from qexplorer.commands.foreground import work
from qexplorer.commands.options import add_options, given
from qexplorer.commands.recipe_options import add_recipe_options, recipe_given
from qexplorer.errors import UserError
from qexplorer.folders import write_whole
from qexplorer.inspection.rows import KEPT
from qexplorer.quant import Analysis, QuantSpec, analyze
from qexplorer.quant.advice import SpecAdvice, advise
from qexplorer.quant.flags import NO_FLAGS, Flags, flags_of
from qexplorer.quant.metrics import METRICS, Metric, sqnr_db
from qexplorer.quant.moments import Shape, shape_of
from qexplorer.quant.quantize import quantize
from qexplorer.quant.recipe import Recipe
from qexplorer.quant.remarks import remarks
from qexplorer.quant.sketch import sketch
from qexplorer.quant.tensor_source import Values, narrowed, widened
from qexplorer.settings import schema
from qexplorer.text import first_few, printable
from qexplorer.weights import Checkpoint, TensorInfo, open_checkpoint
from qexplorer.weights.roles import WEIGHTS, Role

EXAMPLES = """examples:
  qexplorer analyze model.safetensors --tensor conv1.weight --format int4 --observer mse
  qexplorer analyze model.safetensors --all --granularity channel --json
  qexplorer analyze model.safetensors --tensor conv1.weight --codes codes.npy --scale scale.npy"""
NONE = "–"
SEARCHED = 1 << 20
"""With many tensors, remedies that search are tried on those of at most so many values."""
ARRAYS = ("dequantized", "codes", "scale", "zero_point")


@dataclasses.dataclass(frozen=True)
class _Found:
    """A tensor with its analysis, or with the `trouble` that is in the way of one; totals are over those `counted`."""

    tensor: TensorInfo
    role: Role
    counted: bool
    flags: Flags
    analysis: Analysis | None
    trouble: str = ""
    shape: Shape | None = None
    advice: tuple[SpecAdvice, ...] = ()


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
    parser.add_argument("--json", action="store_true", help="print one JSON document, with moments and advice")
    add_recipe_options(parser)
    add_options(parser.add_argument_group("SPEC options"), schema(QuantSpec), QuantSpec().to_json())


def run(args: argparse.Namespace) -> None:
    """Analyze, print, and write the arrays that were asked for."""
    fields = given(args, schema(QuantSpec))
    recipe = recipe_given(args, Recipe.of_weights(QuantSpec.from_json(fields)), fields)
    if args.histogram is not None and not 2 <= args.histogram <= 1_000_000:
        raise UserError(
            f"A histogram of {args.histogram} bins is not possible.", "Take 2 to 1,000,000.", field="histogram"
        )
    files = {name: Path(getattr(args, name)) for name in ARRAYS if getattr(args, name)}
    if files and args.all:
        raise UserError("Arrays can be written of one tensor only.", "Take --tensor NAME.", field="tensor")
    checkpoint = work(open_checkpoint(args.path))
    chosen = [checkpoint.tensor(args.tensor)] if args.tensor else list(checkpoint.tensors)
    specs = [recipe.of(t.name, checkpoint.kind_name(t)).weights for t in chosen]
    if files and specs[0] is not None and not specs[0].format.scaled and {"scale", "zero_point"} & set(files):
        name = specs[0].format.name.upper()
        raise UserError(f"{name} has no scale to write.", "Leave --scale and --zero-point out.")
    if args.tensor and specs[0] is None:
        raise UserError(f"{printable(args.tensor)} is kept as it is, by the recipe.", "Choose another tensor or rule.")
    reasons = [
        (_skipped(t, spec.for_kind(checkpoint.kind(t).kind)) if args.all else "") if spec else KEPT
        for t, spec in zip(chosen, specs, strict=True)
    ]
    skipped = [(t, reason) for t, reason in zip(chosen, reasons, strict=True) if reason]
    results = [
        _look(checkpoint, t, spec, args.histogram, files, strict=not args.all, advised=args.json or not args.all)
        for t, spec, reason in zip(chosen, specs, reasons, strict=True)
        if spec and not reason
    ]
    if args.json:
        document: dict[str, Any] = {"tensors": [_json(found, args.histogram) for found in results]}
        document["totals"] = _totals(results)
        document["totals_over"] = WEIGHTS if args.all else [args.tensor]
        document["skipped"] = [{"name": t.name, "reason": reason} for t, reason in skipped]
        say_json(document)
    else:
        _print(results)
        _say_advice([each for found in results for each in found.advice])
        if skipped:
            say(f"{len(skipped)} tensors were skipped, the first: {printable(skipped[0][0].name)}: {skipped[0][1]}")


def _skipped(tensor: TensorInfo, spec: QuantSpec) -> str:
    """Why `--all` leaves a tensor out; empty if it does not."""
    if tensor.unsupported:
        return tensor.unsupported
    if not tensor.dtype.startswith(("float", "bfloat")):
        return f"It holds {tensor.dtype}, not floating-point weights."
    return spec.granularity.refusal(tensor.shape)


def _look(checkpoint: Checkpoint, tensor: TensorInfo, spec: QuantSpec, bins: int | None, files: dict[str, Path], *,
          strict: bool, advised: bool) -> _Found:  # fmt: skip
    """Analyze a tensor; unless `strict`, what is wrong with it is said in its row and the others go on. Whether it is
    `advised` on, too, where it counts.
    """
    role, flags = checkpoint.roles[tensor.name], NO_FLAGS
    counted = strict or (role.weighs and not tensor.tied_to)
    try:
        values = work(checkpoint.values_steps(tensor))
        flags = work(flags_of(values))
        analysis = _analyze(values, tensor, spec, bins, files)
        if not (advised and counted):
            return _Found(tensor, role, counted, flags, analysis)
        shape = work(shape_of(values, work(sketch(values))))
        return _Found(tensor, role, counted, flags, analysis, "", shape, work(advise(values, analysis, shape)))
    except UserError as error:
        if strict:
            raise
        return _Found(tensor, role, counted, flags, None, str(error))


def _analyze(values: Values, tensor: TensorInfo, spec: QuantSpec, bins: int | None,
             files: dict[str, Path]) -> Analysis:  # fmt: skip
    analysis = work(analyze(values, spec, bins=bins or 400, original_bytes=tensor.nbytes))
    if files:
        codes, dequantized, params = quantize(widened(narrowed(values.all())), analysis.applied, analysis.params)
        arrays: dict[str, Any] = {"dequantized": dequantized, "codes": codes, "scale": params.scale}
        arrays["zero_point"] = params.zero_point if params.offset is None else params.offset
        for name, path in files.items():
            _write(path, arrays[name])
    return analysis


def _say_advice(advice: Sequence[SpecAdvice]) -> None:
    """A sentence for each problem, and below it what helps."""
    said = ""
    for each in advice:
        if each.sentence != said:
            say(f"advice: {each.sentence}")
        said = each.sentence
        if each.spec is not None:
            say(f"  {each.remedy}: {each.figure}   {each.spec.short}")


def _write(path: Path, array: Any) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_whole(path, buffer.getbuffer())


def _json(found: _Found, bins: int | None) -> dict[str, Any]:
    tensor, flags = found.tensor, found.flags
    about = {
        "name": tensor.name,
        "shape": tensor.shape,
        "dtype": tensor.dtype,
        "n": tensor.n,
        "role": found.role.name,
        "role_reason": found.role.reason,
        "flags": flags.names,
        "nan": flags.nan,
        "inf": flags.inf,
    }
    if found.analysis is None:
        return {**about, "metrics": None, "trouble": found.trouble}
    said = remarks(found.analysis.applied, found.analysis.shape, tensor.dtype)
    moments = found.shape.to_json(tensor.shape) if found.shape is not None else None
    advice = [each.to_json() for each in found.advice]
    figures = _figures(found.analysis, bins)
    return {**about, "remarks": said, **figures, "moments": moments, "advice": advice}


def _figures(a: Analysis, bins: int | None) -> dict[str, Any]:
    def span(values: Any, kind: Callable[[Any], Any]) -> dict[str, Any]:
        ends = {"min": kind(values.min()), "max": kind(values.max())} if values.size else {"min": None, "max": None}
        return {"n": int(values.size), **ends}

    scaled = a.spec.format.scaled and a.params.levels is None
    zero_point = span(a.params.zero_point, int) if scaled and a.spec.scheme == "affine" else None
    if a.params.offset is not None:
        zero_point = span(a.params.offset, float)
    metrics = {name: None if value != value else value for name, value in dataclasses.asdict(a.metrics).items()}
    nonfinite = metrics.pop("nonfinite")
    del metrics["n"]
    document = {
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


def _totals(results: list[_Found]) -> dict[str, Any]:
    """The sums over weights, or over the one tensor that was asked for; what else was analyzed stands apart."""
    counted = [found.analysis for found in results if found.counted and found.analysis is not None]
    x2, e2 = sum(a.sums.x2 for a in counted), sum(a.sums.e2 for a in counted)
    return {
        "params": sum(a.metrics.n for a in counted),
        "original_bytes": sum(a.metrics.original_bytes for a in counted),
        "bytes": sum(a.metrics.bytes for a in counted),
        "sqnr_db": sqnr_db(x2, e2) if x2 else None,
    }


def _print(results: list[_Found]) -> None:
    shown = [metric for metric in METRICS if metric.column]
    odd = ("flags",) if any(each.flags.text for each in results) else ()
    rows = [
        (printable(each.tensor.name), each.role.name, f"{each.tensor.n:,}", *_texts(each.analysis, shown),
         *(each.flags.text for _ in odd))
        for each in results
    ]  # fmt: skip
    titles = ("tensor", "role", "values", *(metric.column for metric in shown), *odd)
    say_table(titles, rows, right=range(2, 3 + len(shown)))
    for each in results:
        if each.trouble:
            say(f"{printable(each.tensor.name)} was not measured: {each.trouble}")
    for text, names in _remarks(results).items():
        say(f"{first_few(names, 3)}: {text}")
    totals, n = _totals(results), sum(each.counted for each in results)
    db = NONE if totals["sqnr_db"] is None else f"{totals['sqnr_db']:.2f}"
    say(
        f"{_titles(results)}: {n:,} weight{'s' if n != 1 else ''}, {totals['params']:,} values, "
        f"{totals['original_bytes']:,} -> {totals['bytes']:,} bytes, SQNR {db} dB (exact)"
    )


def _remarks(results: list[_Found]) -> dict[str, list[str]]:
    """What is to be said beside the figures, and of which tensors."""
    said: dict[str, list[str]] = {}
    for each in results:
        if each.analysis is not None:
            for text in remarks(each.analysis.applied, each.analysis.shape, each.tensor.dtype):
                said.setdefault(text, []).append(printable(each.tensor.name))
    return said


def _texts(a: Analysis | None, shown: list[Metric]) -> list[str]:
    """The figures of a row; a dash for each that there is none of."""
    return [NONE if a is None or math.isnan(metric.read(a.metrics)) else metric.text(a.metrics) for metric in shown]


def _titles(results: list[_Found]) -> str:
    """How the tensors were quantized, in a few words."""
    titles = dict.fromkeys(each.analysis.spec.title for each in results if each.analysis is not None)
    return " and ".join(titles) if 0 < len(titles) < 3 else f"{len(titles)} specs" if titles else "nothing"
