"""The exact passes over a whole tensor: one scale with every histogram, and groups of 128."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from qexplorer.progress import finish
from qexplorer.quant import Analysis, QuantSpec, analyze

from . import data
from .copies import copies
from .figures import Figure, alternate, at_least, at_most, fastest, require_close, require_equal, say
from .notebooks import Array, numpy_notebook, torch_notebook
from .peers import GROUP, TOLERANCE, Peer, peers

INT8 = QuantSpec.from_json({"format": "int8"})
MOST = 127
BINS = 2048
METRICS_ONLY = 0
"""So many bins where no histogram is asked for."""
NUMPY, TORCH = "np.histogram notebook", "torch.histc notebook"


def measure(names: Sequence[str], quick: bool) -> Iterator[Figure]:
    """The figures of these names."""
    for name in names:
        if name == "exact-int8-tensor":
            yield _int8(quick)
        else:
            x = data.bfloat16(quick) if "bf16" in name else torch.from_numpy(data.float32(quick))
            yield _groups(name, x, quick)


def _int8(quick: bool) -> Figure:
    x = data.float32(quick)
    tensor = torch.from_numpy(x)
    ours = finish(analyze(data.values_of(tensor), INT8, bins=BINS))
    require_same_histograms(ours, x)
    bins, error_bins = ours.bins, ours.error_bins
    copy_jobs = copies(tensor)
    seconds = alternate(
        {
            "ours": lambda: finish(analyze(data.values_of(tensor), INT8, bins=BINS)),
            NUMPY: lambda: numpy_notebook(x, MOST, bins, error_bins),
            TORCH: lambda: torch_notebook(tensor, MOST, bins, error_bins),
            **copy_jobs,
        },
        data.runs(quick),
    )
    taken = seconds["ours"]
    peer, peer_s = fastest({name: seconds[name] for name in (NUMPY, TORCH)})
    limit, limit_s = fastest({name: seconds[name] for name in copy_jobs})
    return Figure(
        name="exact-int8-tensor",
        work=f"{data.described(quick)}: INT8, one scale, all metrics, code counts, three histograms of "
        f"{bins.count:,}, {bins.count:,} and {error_bins.count:,} bins",
        ours_s=taken,
        peer=peer,
        peer_s=peer_s,
        limit=f"one {limit}",
        limit_s=limit_s,
        runs=data.runs(quick),
        bars=(
            at_least(f">= 25x the {NUMPY}", seconds[NUMPY] / taken, 25),
            at_least(f">= 8x the {TORCH}", seconds[TORCH] / taken, 8),
            at_most("<= 5x one copy", taken, 5 * limit_s),
        ),
        note="counts equal np.histogram's; the notebooks work out no metrics and no code counts",
        more={"seconds": seconds},
    )


def require_same_histograms(ours: Analysis, x: Array) -> None:
    """Raise `DifferenceError` where counts or metrics are not those of plain NumPy."""
    say("comparing INT8 with np.histogram")
    theirs = numpy_notebook(x, MOST, ours.bins, ours.error_bins)
    require_equal(f"{NUMPY}, original", ours.original, theirs.original)
    require_equal(f"{NUMPY}, dequantized", ours.dequantized, theirs.dequantized)
    require_equal(f"{NUMPY}, errors", ours.errors, theirs.errors)
    scale = ours.params.scale[0]
    codes = np.clip(np.rint(x * (np.float32(1) / scale)), -MOST, MOST)
    counts = np.bincount(codes.astype(np.int16).reshape(-1) + MOST, minlength=2 * MOST + 1)
    require_equal("np.bincount, codes in use", ours.level_counts, counts[counts > 0])
    error = codes * scale - x
    require_close("NumPy, MSE", ours.metrics.mse, float(np.mean(np.square(error), dtype=np.float64)), 1e-6)
    require_close("NumPy, largest error", ours.metrics.max_abs_error, float(np.abs(error).max()), 1e-6)


def _groups(name: str, x: torch.Tensor, quick: bool) -> Figure:
    spec = QuantSpec.from_json({"format": "int4", "granularity": f"group:{GROUP}"})
    found = peers()
    for peer_name, peer in found.items():
        _require_same_error(peer_name, peer, x)
    copy_jobs = copies(x)
    seconds = alternate(
        {
            "ours": lambda: finish(analyze(data.values_of(x), spec, bins=METRICS_ONLY)),
            **{peer_name: lambda peer=peer: peer.mse(x) for peer_name, peer in found.items()},
            **copy_jobs,
        },
        data.runs(quick),
    )
    taken = seconds["ours"]
    peer_name, peer_s = fastest({each: seconds[each] for each in found})
    limit, limit_s = fastest({each: seconds[each] for each in copy_jobs})
    bars = [at_least(f">= 12x the fastest peer ({peer_name})", peer_s / taken, 12)]
    if x.dtype == torch.float32:
        bars.append(at_most("<= 2.5x one copy", taken, 2.5 * limit_s))
    return Figure(
        name=name,
        work=f"{data.described(quick, str(x.dtype).removeprefix('torch.'))}: INT4, groups of {GROUP}, all metrics",
        ours_s=taken,
        peer=peer_name,
        peer_s=peer_s,
        limit=f"one {limit}",
        limit_s=limit_s,
        runs=data.runs(quick),
        bars=tuple(bars),
        note="the peers work out the MSE only",
        more={"seconds": seconds},
    )


def _require_same_error(name: str, peer: Peer, x: torch.Tensor) -> None:
    """Compare a peer with ours in its own scheme; on a part of the tensor, where that scheme is not ours' fast one."""
    spec = QuantSpec.from_json(peer.spec)
    say(f"comparing {spec.title} with {name}")
    part = x if spec.format.name == "int4" else x[: max(len(x) // 16, 1)].contiguous()
    ours = finish(analyze(data.values_of(part), spec, bins=METRICS_ONLY))
    require_close(f"{name}, MSE", ours.metrics.mse, peer.mse(part), TOLERANCE)
