"""The sketch: counting a tensor once, and what then follows from the counts without looking at it again."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from qexplorer.progress import finish
from qexplorer.quant import Analysis, QuantSpec, analyze
from qexplorer.quant.analysis import analyze_sketch
from qexplorer.quant.sketch import Sketch, sketch
from qexplorer.quant.survey import observer_specs

from . import data
from .figures import Figure, alternate, at_most, fastest, require_close, require_equal, say
from .notebooks import Array, weighted_notebook
from .peers import mean_square

SCHEMES = (
    {"format": "int8"},
    {"format": "int8", "observer": "percentile"},
    {"format": "int4", "scheme": "affine"},
    {"format": "fp8_e4m3fn"},
    {"format": "nf4"},
)
"""The first is the one that the peer does too."""
MOST = 127
SWEEP_BITS = range(2, 9)
SWEEP_TOLERANCE = 0.02
"""How far the error of a float32 tensor's sketch may be from that of all its values, relatively."""
PART = 1 << 18


def measure(names: Sequence[str], quick: bool) -> Iterator[Figure]:
    """The figures of these names."""
    makers: dict[str, Callable[[bool], Figure]] = {
        "sketch-float32": lambda quick: _counting(torch.from_numpy(data.float32(quick)), 3, quick),
        "sketch-bfloat16": lambda quick: _counting(data.bfloat16(quick), 5, quick),
        "any-scheme-from-sketch": _any_scheme,
        "observer-sweep": _sweep,
    }
    for name in names:
        yield makers[name](quick)


def _counting(x: torch.Tensor, times: float, quick: bool) -> Figure:
    values = data.values_of(x)
    words = x.view(torch.uint16).numpy().reshape(-1)
    upper = words[1::2] if x.dtype == torch.float32 else words  # the upper half of a float32 is its bfloat16
    dtype = str(x.dtype).removeprefix("torch.")
    _require_same_counts(x, finish(sketch(values)), upper)
    seconds = alternate(
        {
            "ours": lambda: finish(sketch(values)),
            "np.bincount": lambda: np.bincount(upper, minlength=1 << 16),
            "torch.bincount": lambda: torch.bincount(torch.from_numpy(upper.astype(np.int32)), minlength=1 << 16),
            "sum": lambda: x.view(torch.float32).sum(),  # bfloat16 is summed two at a time: only reading counts
        },
        data.runs(quick),
    )
    peer, peer_s = fastest({name: seconds[name] for name in ("np.bincount", "torch.bincount")})
    return Figure(
        name=f"sketch-{dtype}",
        work=f"{data.described(quick, dtype)}: every value counted by its upper bits",
        ours_s=seconds["ours"],
        peer=peer,
        peer_s=peer_s,
        limit="reading its bytes once (torch's sum of them as float32)",
        limit_s=seconds["sum"],
        runs=data.runs(quick),
        bars=(at_most(f"<= {times:g}x reading it once", seconds["ours"], times * seconds["sum"]),),
        more={"seconds": seconds},
    )


def _require_same_counts(x: torch.Tensor, counted: Sketch, upper: Array) -> None:
    """Hold a sketch against NumPy's counts of the upper 16 bits, and what it says of INT8 against the exact pass."""
    say(f"comparing the sketch of {x.dtype} with np.bincount and the exact pass")
    patterns = (counted.low.view(np.uint32) >> np.uint32(16)).astype(np.int64)
    counts = np.zeros(1 << 16, np.int64)
    np.add.at(counts, patterns, counted.counts)
    require_equal("np.bincount", counts, np.bincount(upper, minlength=1 << 16))
    spec = QuantSpec.from_json(SCHEMES[0])
    quick = analyze_sketch(counted, tuple(x.shape), spec)
    _require_same("sketch", quick, finish(analyze(data.values_of(x), spec)), exact=x.dtype == torch.bfloat16)


def _require_same(what: str, ours: Analysis, theirs: Analysis, *, exact: bool) -> None:
    require_close(f"{what}, MSE", ours.metrics.mse, theirs.metrics.mse, 1e-9 if exact else SWEEP_TOLERANCE)
    require_equal(f"{what}, values", ours.original.sum(), theirs.original.sum())
    if exact:
        require_equal(f"{what}, original", ours.original, theirs.original)
        require_equal(f"{what}, dequantized", ours.dequantized, theirs.dequantized)
        require_equal(f"{what}, errors", ours.errors, theirs.errors)


def _any_scheme(quick: bool) -> Figure:
    x = data.bfloat16(quick)
    shape, specs = tuple(x.shape), [QuantSpec.from_json(fields) for fields in SCHEMES]
    counted = finish(sketch(data.values_of(x)))
    part = x.reshape(-1)[:PART]
    part_counted = finish(sketch(data.values_of(part)))
    say("comparing schemes from the sketch with exact passes")
    for spec in specs:
        ours = analyze_sketch(part_counted, tuple(part.shape), spec)
        _require_same(f"exact pass, {spec.title}", ours, finish(analyze(data.values_of(part), spec)), exact=True)
    words = np.bincount(x.view(torch.uint16).numpy().reshape(-1), minlength=1 << 16)
    distinct = np.flatnonzero(words)
    pairs = (distinct.astype(np.uint32) << 16).view(np.float32), words[distinct]
    whole = analyze_sketch(counted, shape, specs[0])
    theirs = weighted_notebook(*pairs, MOST, whole.bins, whole.error_bins)
    require_equal("np.histogram with weights, dequantized", whole.dequantized, theirs.dequantized)
    require_equal("np.histogram with weights, errors", whole.errors, theirs.errors)
    wide = finish(sketch(data.values_of(torch.from_numpy(data.float32(quick)))))
    runs = 10 * data.runs(quick)
    seconds = alternate(
        {
            **{spec.title: lambda spec=spec: analyze_sketch(counted, shape, spec) for spec in specs},
            "float32": lambda: analyze_sketch(wide, shape, specs[0]),
            "NumPy": lambda: weighted_notebook(*pairs, MOST, whole.bins, whole.error_bins),
        },
        runs,
    )
    peer_s, wide_s = seconds.pop("NumPy"), seconds.pop("float32")
    slowest, slowest_s = max(seconds.items(), key=lambda item: item[1])
    return Figure(
        name="any-scheme-from-sketch",
        work=f"{data.described(quick, 'bfloat16')}, counted already: all metrics and histograms of {specs[0].title}",
        ours_s=seconds[specs[0].title],
        peer="NumPy notebook on the same weighted values",
        peer_s=peer_s,
        limit="2 ms",
        limit_s=0.002,
        runs=runs,
        bars=(
            at_most("<= 2 ms", seconds[specs[0].title], 0.002),
            at_most(f"<= 2 ms for the slowest of {len(specs)} schemes ({slowest})", slowest_s, 0.002),
            at_most("<= 2 ms from the sketch of float32", wide_s, 0.002),
        ),
        note="equal to the exact pass",
        more={"seconds": seconds},
    )


def _sweep(quick: bool) -> Figure:
    values = data.float32(quick)
    counted = finish(sketch(data.values_of(torch.from_numpy(values))))
    flat = torch.from_numpy(values).reshape(-1)
    specs = [
        spec
        for bits in SWEEP_BITS
        for spec in observer_specs(QuantSpec.from_json({"format": f"int{bits}"}))[0]
        if spec.observer.name != "fixed"  # it observes nothing
    ]

    def ours() -> list[Analysis]:
        return [analyze_sketch(counted, values.shape, spec, bins=0) for spec in specs]

    analyses = ours()
    scales = [float(analysis.params.scale[0]) for analysis in analyses]
    mosts = [(1 << int(spec.format.storage_bits) - 1) - 1 for spec in specs]

    def theirs() -> list[float]:
        return [_torch_error(flat, scale, most) for scale, most in zip(scales, mosts, strict=True)]

    say(f"comparing {len(specs)} ranges with torch over all values")
    for spec, analysis, error in zip(specs, analyses, theirs(), strict=True):
        what = f"torch, {spec.observer.title} at {spec.format.title}"
        require_close(f"{what}, MSE", analysis.metrics.mse, error, SWEEP_TOLERANCE)
    seconds = alternate({"ours": ours, "torch": theirs}, data.runs(quick))
    return Figure(
        name="observer-sweep",
        work=f"{data.described(quick)}, counted already: {len(specs)} pairs of observer and INT2 … INT8, all metrics",
        ours_s=seconds["ours"],
        peer="torch fake-quantize and MSE over all values, with ours' ranges",
        peer_s=seconds["torch"],
        limit="100 ms",
        limit_s=0.1,
        runs=data.runs(quick),
        bars=(at_most("<= 100 ms", seconds["ours"], 0.1),),
        note=f"MSE within {SWEEP_TOLERANCE:.0%} of torch's over all values; the peer is spared the search of ranges",
    )


def _torch_error(flat: torch.Tensor, scale: float, most: int) -> float:
    error = torch.fake_quantize_per_tensor_affine(flat, scale, 0, -most, most).sub_(flat)
    return mean_square(error)
