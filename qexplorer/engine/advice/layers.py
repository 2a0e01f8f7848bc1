"""What single layers, the number of calibration samples and the kernels give reason to say."""

import math
from collections.abc import Iterator

from qexplorer.engine.advice.base import JobAdvice, recipe_of
from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.speed import NO_FASTER, speed_sentence, speeds
from qexplorer.engine.runs.results import RunResult
from qexplorer.engine.simulation.recipe import FLOAT, LayerSpec
from qexplorer.quant.spec import QuantSpec

SHARE = 0.3
COARSE_DB = 20.0
"""An output whose error is one percent of its power: less is not worth a repair."""
WIDE = 8
WIDE_WEIGHTS, WIDE_ACTIVATIONS = QuantSpec.parse("int8 channel:0"), QuantSpec.parse("uint8 affine mse")
OTHER_ENGINE = {"x86": "onednn", "fbgemm": "onednn", "qnnpack": "x86"}


def no_faster(result: RunResult) -> Iterator[JobAdvice]:
    """A model in a narrower type that does not pay."""
    fields = getattr(jobs[result.job], "__dataclass_fields__", {})
    for row in result.rows[1:]:
        sentence = speed_sentence(result, row)
        if not sentence or min(speeds(result, row).values()) >= NO_FASTER:
            continue
        other = OTHER_ENGINE.get(row.engine)
        if other and "engine" in fields and "avx2" in result.versions.get("isa", "").split():
            yield JobAdvice(f"{row.name}: {sentence}", f"Try the engine {other}", result.job, {"engine": other})
        else:
            yield JobAdvice(f"{row.name}: {sentence}")


def one_layer(result: RunResult) -> Iterator[JobAdvice]:
    """A layer that alone makes much of the model's error."""
    errors = [(layer["output_error"], layer["name"]) for layer in result.layers if "output_error" in layer]
    total = sum(error for error, _ in errors)
    if len(errors) <= 2 or total <= 0 or max(errors)[0] <= SHARE * total:
        return
    worst, name = max(errors)
    recipe = recipe_of(result)
    own = recipe.of(name)
    better = LayerSpec(_wider(own.weights, WIDE_WEIGHTS), _wider(own.activations, WIDE_ACTIVATIONS))
    text, remedy = (FLOAT, "Leave this layer float") if better == own else (better.text, "Give this layer 8 bits")
    job, settings = "weight-only", {"overrides": f"{name}={text}"}
    if result.spec.get("overrides"):
        settings["overrides"] = f"{result.spec['overrides']}; {settings['overrides']}"
    if recipe.every.activations is not None:
        job, settings["preset"] = "ptq-static", "none"
    yield JobAdvice(f"{name} alone makes {worst / total:.0%} of the error of the output.", remedy, job, settings)


def _wider(spec: QuantSpec | None, wide: QuantSpec) -> QuantSpec | None:
    return wide if spec is not None and spec.format.storage_bits < WIDE else spec


def shifted(result: RunResult) -> Iterator[JobAdvice]:
    """Layers whose output quantization shifts."""
    steps = result.spec.get("repairs", [])
    if not isinstance(steps, list) or any("bias_correction" in step for step in steps):  # of a preview it is the text
        return
    mendable = [layer for layer in result.layers if not str(layer.get("spec", "")).startswith(FLOAT)]
    coarse = [layer for layer in mendable if float(layer.get("output_sqnr_db", "inf")) < COARSE_DB]
    found = sorted((layer["mean_shift"], layer["name"]) for layer in coarse if layer.get("mean_shift", 0) > SHARE)
    if found:
        share, name = found[-1]
        more = f"; in {len(found)} layers it is more than {SHARE:.0%}" if len(found) > 1 else ""
        yield JobAdvice(
            f"Quantization shifts the mean output of channels: that makes {share:.0%} of the error of {name}{more}.",
            "Correct biases", result.job, {"repairs": ",".join([*steps, "bias_correction"])},
        )  # fmt: skip


def more_samples(result: RunResult) -> Iterator[JobAdvice]:
    """Ranges that more calibration samples would still change."""
    points = result.history
    if result.job != "convergence" or len(points) < 2 or points[-2]["range_change"] <= 0.05:
        return
    change, n = points[-2]["range_change"], points[-1]["samples"]
    there = result.data.get("train_n", math.inf)
    sentence = f"Ranges still change by {change:.0%} from {points[-2]['samples']} to {n} samples: they are not enough."
    if n < there:
        more = min(2 * n, there)
        yield JobAdvice(sentence, f"Calibrate on {more}", "convergence", {"calibration": more})
    else:
        yield JobAdvice(f"{sentence} The data have no more.")
