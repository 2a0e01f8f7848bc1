"""How long a module takes, measured so that two modules can be compared."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qexplorer.engine.measuring.evaluate import place_of
from qexplorer.engine.runs.results import Latency
from qexplorer.progress import Progress, Steps

if TYPE_CHECKING:
    from torch import Tensor, nn

WARM_UP = 3
FEWEST, MOST = 9, 200
"""Bounds on the rounds per batch size."""
SECONDS = 2.0
"""What one batch size may take altogether, unless that gives too few rounds."""


def measure_latency(
    modules: "Mapping[str, nn.Module]",
    input_shape: tuple[int, ...],
    batch_sizes: Sequence[int] = (1, 64),
    threads: int = 1,
) -> Steps[dict[str, dict[int, Latency]]]:
    """Time every module at every batch size, with `threads` threads of torch.

    The modules take turns, one run each a round and every round beginning with another one, so that a machine that
    slows down or is busy for a while treats them alike. Returns {module: {batch size: Latency}}.
    """
    import torch

    result: dict[str, dict[int, Latency]] = {name: {} for name in modules}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        generator = torch.Generator().manual_seed(0)
        for i, size in enumerate(batch_sizes):
            x = torch.rand((size, *input_shape), generator=generator)
            times = yield from _rounds(modules, x, i / len(batch_sizes), (i + 1) / len(batch_sizes))
            for name, runs in times.items():
                p05, median, p95 = np.percentile(runs, (5, 50, 95))
                result[name][size] = Latency(float(median), float(p05), float(p95), len(runs))
    finally:
        torch.set_num_threads(before)
    return result


def _rounds(
    modules: "Mapping[str, nn.Module]", x: "Tensor", start: float, stop: float
) -> Steps[dict[str, list[float]]]:
    phase = f"Timing batch {len(x)}"
    names = list(modules)
    estimate = 0.0
    for name in names:
        last = 0.0
        for _ in range(WARM_UP):
            yield Progress(phase, fraction=start, timed=True)
            last = _run(modules[name], x)
        estimate += last
    rounds = int(min(max(SECONDS * 1000 / max(estimate, 1e-3), FEWEST), MOST))
    times: dict[str, list[float]] = {name: [] for name in names}
    for done in range(rounds):
        for turn in range(len(names)):
            yield Progress(phase, done, rounds, start + (stop - start) * done / rounds, timed=True)
            name = names[(done + turn) % len(names)]
            times[name].append(_run(modules[name], x))
    return times


def _run(module: "nn.Module", x: "Tensor") -> float:
    import torch

    device, dtype = place_of(module)
    x = x.to(device, dtype)
    with torch.inference_mode():
        began = time.perf_counter()
        module(x)
        if device.type != "cpu":
            torch.accelerator.synchronize()
        return (time.perf_counter() - began) * 1000
