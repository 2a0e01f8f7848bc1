"""Rules that see a problem in a run's result, say it in a sentence, and name the job that mends it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from qexplorer.engine.backends import ENGINES
from qexplorer.engine.results import NO_FASTER, REAL, SIMULATED, Row, RunResult
from qexplorer.engine.simulation.recipe import FLOAT
from qexplorer.engine.starts import KINDS

DROP = 0.005
FEW_BITS = 4.5
SHARE = 0.3
COARSE_DB = 20.0
"""An output whose error is one percent of its power: less is not worth a repair."""
REPAIRED = "fold,cle,mse_clip,adaround:500,bias_correction"
REPAIRED_WITHOUT_CLE = "fold,mse_clip,gptq,bias_correction"


@dataclass(frozen=True)
class JobAdvice:
    """What is wrong, in a sentence with its figures; a remedy in a few words, and the job's name and settings.

    Settings that are not named are those of the run. `job` is empty where nothing can be done.
    """

    sentence: str
    remedy: str
    job: str
    settings: dict[str, Any]


def advise_on(result: RunResult) -> list[JobAdvice]:
    """All that is to be said of a run."""
    return [advice for rule in RULES for advice in rule(result)]


def _no_faster(result: RunResult) -> Iterator[JobAdvice]:
    first = result.rows[0]
    for row in result.rows[1:]:
        slow = [b for b, ms in row.latency_ms.items() if first.latency_ms[b]["median"] / ms["median"] < NO_FASTER]
        if row.kind == REAL and row.engine in ENGINES and slow:
            yield JobAdvice(
                f"{row.name} is no faster at batch {' and '.join(slow)}: {why_no_faster(result, row, slow)}",
                "Try another engine" if row.engine != "onednn" else "", "ptq-static", {"engine": "onednn"},
            )  # fmt: skip


def why_no_faster(result: RunResult, row: Row, slow: list[str]) -> str:
    """One sentence on why int8 kernels did not pay."""
    cpu = result.versions.get("cpu", "")
    if "AVX512" not in cpu and "VNNI" not in cpu and cpu:
        return f"this processor ({cpu}) has no int8 dot products, so int8 costs as many instructions as float."
    float_share = result.job == "ptq-dynamic"
    if float_share:
        return "only Linear and LSTM layers became int8, and quantizing their inputs anew each time costs time too."
    if slow == ["1"]:
        return "with one image the work of a layer is so small that calling it and converting its input dominate."
    return f"the {row.engine} kernels gain less on these layers than converting between float and int8 costs."


def _dropped(result: RunResult) -> Iterator[JobAdvice]:
    first = result.rows[0]
    bits = float(result.spec.get("average_bits", 32))
    repaired = any(step in str(result.spec.get("repairs", [])) for step in ("adaround", "gptq"))
    for row in result.rows[1:]:
        drop = first.top1 - row.top1
        if row.kind != SIMULATED or drop <= DROP or result.job == "qat":
            continue
        if bits <= FEW_BITS and not repaired:
            has_norms = bool(result.spec.get("folded"))
            yield JobAdvice(
                f"{row.name} loses {100 * drop:.1f} points of top-1 by rounding to nearest at {bits:.1f} bits.",
                "Repair: clip, choose the rounding, correct biases", result.job,
                {"repairs": REPAIRED if has_norms else REPAIRED_WITHOUT_CLE},
            )  # fmt: skip
        elif repaired:
            yield JobAdvice(
                f"{row.name} still loses {100 * drop:.1f} points of top-1 after repair: what is left, training mends.",
                "Train with quantization (QAT), from here on", "qat",
                {"epochs": 3, "start": result.run_id if result.run_id and result.job in KINDS else "ptq"},
            )  # fmt: skip


def _one_layer(result: RunResult) -> Iterator[JobAdvice]:
    errors = [(layer["output_error"], layer["name"]) for layer in result.layers if "output_error" in layer]
    total = sum(error for error, _ in errors)
    if len(errors) > 2 and total > 0:
        worst, name = max(errors)
        if worst > SHARE * total:
            spec = result.spec.get("weight_spec", "int4 channel:0")
            yield JobAdvice(
                f"{name} alone makes {worst / total:.0%} of the error of the output.",
                "Give this layer 8 bits", "weight-only",
                {"overrides": f"{name}=int8 channel:0", "weight_spec": spec},
            )  # fmt: skip


def _shifted(result: RunResult) -> Iterator[JobAdvice]:
    steps = result.spec.get("repairs", [])
    if not isinstance(steps, list) or any("bias_correction" in step for step in steps):  # of a preview it is the text
        return
    mendable = [layer for layer in result.layers if not str(layer.get("spec", "")).startswith(FLOAT)]
    coarse = [layer for layer in mendable if float(layer.get("output_sqnr_db", "inf")) < COARSE_DB]
    shifted = sorted((layer["mean_shift"], layer["name"]) for layer in coarse if layer.get("mean_shift", 0) > SHARE)
    if shifted:
        share, name = shifted[-1]
        more = f"; in {len(shifted)} layers it is more than {SHARE:.0%}" if len(shifted) > 1 else ""
        yield JobAdvice(
            f"Quantization shifts the mean output of channels: that makes {share:.0%} of the error of {name}{more}.",
            "Correct biases", result.job,
            {"repairs": ",".join([*steps, "bias_correction"])},
        )  # fmt: skip


def _more_samples(result: RunResult) -> Iterator[JobAdvice]:
    points = result.history
    if result.job == "convergence" and len(points) > 1 and points[-2]["range_change"] > 0.05:
        change, n = points[-2]["range_change"], points[-1]["samples"]
        yield JobAdvice(
            f"Ranges still change by {change:.0%} from {points[-2]['samples']} to {n} samples: they are not enough.",
            f"Calibrate on {2 * n}", "convergence", {"calibration": 2 * n},
        )  # fmt: skip


Rule = Callable[[RunResult], Iterator[JobAdvice]]
RULES: tuple[Rule, ...] = (_dropped, _no_faster, _one_layer, _shifted, _more_samples)
