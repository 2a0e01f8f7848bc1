"""From a run's result to what the widgets show: bars of layers, curves of epochs, a front of sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qexplorer.engine.jobs.repair_trial import CHOSEN, NEAREST
from qexplorer.engine.repair import repairs
from qexplorer.engine.runs.results import RunResult
from qexplorer.widgets.curve import Curve
from qexplorer.widgets.front_plot import FrontPoint
from qexplorer.widgets.numbers import percent, size
from qexplorer.widgets.ranked_bars import Bar


@dataclass(frozen=True)
class Figure:
    """One figure of every layer, ready to be ranked."""

    title: str
    unit: str
    bars: tuple[Bar, ...]
    low_is_worst: bool


Figures = dict[str, Figure]


@dataclass(frozen=True)
class Kind:
    """A figure that layers may have: its key in the result, its name for a choice of few, and what it means."""

    key: str
    name: str
    title: str
    unit: str
    low_is_worst: bool = False
    times: float = 1.0


KINDS = (
    Kind("output_error", "Output", "Error of the model's output with this layer alone quantized", "%", times=100),
    Kind("local_sqnr_db", "Local", "SQNR of the layer's own output with float inputs", "dB", low_is_worst=True),
    Kind("cumulative_sqnr_db", "Cumulative", "SQNR of the layer's output with all before it quantized", "dB", True),
    Kind("top1", "Top-1", "Top-1 with this layer alone quantized", "%", low_is_worst=True, times=100),
    Kind("flips", "Flips", "Changed predictions with this layer alone quantized", "images"),
    Kind("rest_top1", "Rest", "Top-1 with all but this layer quantized", "%", times=100),
    Kind("differs", "Differs", "Outputs whose code is not that of the simulation", "%", times=100),
    Kind("output_sqnr_db", "Output SQNR", "SQNR of the layer's output", "dB", low_is_worst=True),
    Kind("mean_shift", "Shift", "Share of that error that is a shift of channels' means", "%", times=100),
    Kind("weight_sqnr_db", "Weights", "SQNR of the layer's weights", "dB", low_is_worst=True),
    Kind("bits", "Bits", "Bits of a weight, scales included", "bits"),
)
SHOWN_KINDS = 6
LOSS = "Training loss"


def rows_with_figures(result: RunResult) -> list[str]:
    """The rows that have figures of layers of their own; empty where the layers are those of the whole run."""
    return list(dict.fromkeys(layer["row"] for layer in result.layers if "row" in layer))


def figures_of(result: RunResult, row: str = "") -> Figures:
    """The figures of the layers of a row, by default the last that has any; the most telling ones first."""
    rows = rows_with_figures(result)
    layers = [dict(layer) for layer in result.layers if not rows or layer.get("row") == (row or rows[-1])]
    for layer in layers:
        if "equal" in layer:
            layer["differs"] = 1 - layer["equal"]
    found: Figures = {}
    for kind in KINDS:
        if kind.key == "output_sqnr_db" and "Output" in found:
            continue
        bars = tuple(bar for layer in layers if (bar := _bar(layer, kind)) is not None)
        if bars:
            found[kind.name] = Figure(kind.title, kind.unit, bars, kind.low_is_worst)
    return dict(list(found.items())[:SHOWN_KINDS])


def _bar(layer: Mapping[str, Any], kind: Kind) -> Bar | None:
    value = layer.get(kind.key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    known = [(k.title, layer[k.key]) for k in KINDS if k.key in layer]
    detail = "\n".join(f"{title}: {v:.4g}" if isinstance(v, float) else f"{title}: {v}" for title, v in known)
    low, high = layer.get(f"{kind.key}_ci95", (None, None))
    times = kind.times
    spec = f"\n{layer['spec']}" if layer.get("spec") else ""
    return Bar(str(layer["name"]), str(layer["name"]), value * times, f"{layer['name']}{spec}\n{detail}",
               None if low is None else low * times, None if high is None else high * times)  # fmt: skip


def repairs_of(result: RunResult) -> dict[str, str]:
    """What a repair preview tried: each trial's title, and its repairs as a job takes them."""
    if result.job != "repair":
        return {}
    alone = {r.title: r.name if r.name == "fold" else f"fold,{r.name}" for r in repairs}
    return {NEAREST: "fold", **alone, CHOSEN: str(result.spec["repairs"])}


def front_of(result: RunResult) -> tuple[list[FrontPoint], int, list[str]] | None:
    """The front of a bit budget, the place of its choice, and the overrides of each point."""
    points = result.findings.get("front")
    if not points:
        return None
    front = [FrontPoint(p["bytes"], p["average_bits"], p["error"], p.get("top1"),
                        tuple(p["top1_ci95"]) if "top1_ci95" in p else None) for p in points]  # fmt: skip
    return front, int(result.findings["chosen"]), [p["overrides"] for p in points]


def curves_of(result: RunResult) -> Sequence[Curve]:
    """The curves of a run that has epochs or numbers of samples."""
    return live_curves(result.history)


def live_curves(points: Sequence[Mapping[str, Any]]) -> Sequence[Curve]:
    """Curves of the points so far; none where there are no points."""
    if not points:
        return ()
    if "samples" in points[0]:
        xs = [p["samples"] for p in points]
        curves = [Curve("Top-1", xs, [100 * p["top1"] for p in points], "Top-1 (%)", "line")]
        if "range_change" in points[0]:
            ys = [100 * p["range_change"] for p in points]
            curves.append(Curve("Median range against the last", xs, ys, "Change of ranges (%)", "line"))
        return curves
    xs = [p["epoch"] + 1 for p in points]
    curves = [
        Curve(LOSS, xs, [p["loss"] for p in points], LOSS, "line"),
        Curve("Validation", xs, [100 * p["validation_top1"] for p in points], "Top-1 (%)", "line"),
        Curve("Training", xs, [100 * p["train_top1"] for p in points], "Top-1 (%)", "dashed"),
    ]
    for p in points:
        if p.get("best"):
            at, top1 = p["epoch"] + 1, 100 * p["validation_top1"]
            curves.append(Curve(f"Epoch {at} is kept", [at], [top1], "Top-1 (%)", "points"))
    for name in points[0].get("scales", {}):
        first = points[0]["scales"][name] or 1.0
        ys = [p["scales"].get(name, float("nan")) / first for p in points]
        curves.append(Curve(name, xs, ys, "Scale, relative to the first epoch", "line"))
    return curves


def x_title(points: Sequence[Mapping[str, Any]]) -> str:
    """What the curves of such points are over."""
    return "Calibration samples" if points and "samples" in points[0] else "Epoch"


def remark_of(result: RunResult) -> str:
    """What a run found beside its figures, in a sentence or two."""
    found = result.findings
    said: list[str] = []
    start = found.get("start")
    if start:
        said.append(f"Trained on from the run {start['run_id']}, whose {start['row']} was at {percent(start['top1'])}.")
    memory = found.get("training_memory")
    if memory:
        off, on = memory["off"], memory["on"]
        said.append(
            f"A training step of {memory['batch']} images holds {size(off['measured_bytes'])} of activations (by "
            f"formula {size(off['formula_bytes'])}); with gradient checkpointing {size(on['measured_bytes'])} "
            f"({size(on['formula_bytes'])}), and takes {on['seconds'] / off['seconds']:.2f} times as long."
        )
    if "largest_lsb" in found:
        said.append(f"{percent(found['equal'])} of {found['outputs']:,} codes are equal; the largest difference is "
                    f"{found['largest_lsb']} LSB.")  # fmt: skip
    said += [str(found[key]) for key in ("stopped", "worse") if found.get(key)]
    said += [r["note"] for r in found.get("repairs", []) if "note" in r]
    return " ".join(said)
