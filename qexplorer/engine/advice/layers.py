"""What single layers, the number of calibration samples and the kernels give reason to say."""

import math
from collections.abc import Iterator

from qexplorer.engine.advice.base import JobAdvice, recipe_of
from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.speed import NO_FASTER, speed_sentence, speeds
from qexplorer.engine.runs.curve_points import SamplesPoint
from qexplorer.engine.runs.results import RunResult
from qexplorer.quant.recipe import FLOAT, LayerSpec
from qexplorer.quant.spec import QuantSpec
from qexplorer.settings import schema

SHARE = 0.3
ENOUGH = 0.05
"""Ranges that change by no more than this are settled."""
COARSE_DB = 20.0
"""An output whose error is one percent of its power: less is not worth a repair."""
WIDE = 8
WIDE_WEIGHTS, WIDE_ACTIVATIONS = QuantSpec.parse("int8 channel"), QuantSpec.parse("uint8 affine mse")
OTHER_ENGINE = {"x86": "onednn", "fbgemm": "onednn", "qnnpack": "x86"}


def no_faster(result: RunResult) -> Iterator[JobAdvice]:
    """A model in a narrower type that does not pay."""
    settings = {each.name for each in schema(jobs[result.job])}
    for row in result.rows[1:]:
        sentence = speed_sentence(result, row)
        if not sentence or min(speeds(result, row).values()) >= NO_FASTER:
            continue
        other = OTHER_ENGINE.get(row.engine)
        if other and "engine" in settings and "avx2" in result.versions.get("isa", "").split():
            yield JobAdvice(f"{row.name}: {sentence}", f"Try the engine {other}", result.job, {"engine": other},
                            rows=(row.name,))  # fmt: skip
        else:
            yield JobAdvice(f"{row.name}: {sentence}", rows=(row.name,))


def one_layer(result: RunResult) -> Iterator[JobAdvice]:
    """A layer that alone makes much of the model's error."""
    errors = [(layer.output_error, layer.name) for layer in result.layers if layer.output_error is not None]
    total = sum(error for error, _ in errors)
    if len(errors) <= 2 or total <= 0 or max(errors)[0] <= SHARE * total:
        return
    worst, name = max(errors)
    recipe = recipe_of(result)
    own = recipe.of(name)
    better = LayerSpec(_wider(own.weights, WIDE_WEIGHTS), _wider(own.activations, WIDE_ACTIVATIONS))
    text, remedy = (FLOAT, "Leave this layer float") if better == own else (better.text, "Give this layer 8 bits")
    job, settings = "weight-only", {"overrides": f"{name}={text}"}
    if result.settings.get("overrides"):
        settings["overrides"] = f"{result.settings['overrides']}; {settings['overrides']}"
    if recipe.every.activations is not None:
        job, settings["preset"] = "ptq-static", "none"
    yield JobAdvice(f"{name} alone makes {worst / total:.0%} of the error of the output.", remedy, job, settings)


def _wider(spec: QuantSpec | None, wide: QuantSpec) -> QuantSpec | None:
    return wide if spec is not None and spec.format.storage_bits < WIDE else spec


def shifted(result: RunResult) -> Iterator[JobAdvice]:
    """Layers whose output quantization shifts."""
    steps = result.spec.repairs
    if steps is None or any("bias_correction" in step for step in steps):
        return
    quantized = [each for each in result.layers if not each.spec.startswith(FLOAT) and not each.layer]  # no trials
    coarse = [each for each in quantized if each.output_sqnr_db is not None and each.output_sqnr_db < COARSE_DB]
    found = sorted((each.mean_shift, each.name) for each in coarse if (each.mean_shift or 0.0) > SHARE)
    if found:
        share, name = found[-1]
        more = f"; in {len(found)} layers it is more than {SHARE:.0%}" if len(found) > 1 else ""
        yield JobAdvice(
            f"Quantization shifts the mean output of channels: that makes {share:.0%} of the error of {name}{more}.",
            "Correct biases", result.job, {"repairs": ",".join([*steps, "bias_correction"])},
        )  # fmt: skip


def more_samples(result: RunResult) -> Iterator[JobAdvice]:
    """Ranges that more calibration samples would still change."""
    points = [point for point in result.history if isinstance(point, SamplesPoint)]
    change = points[-2].range_change if len(points) > 1 else None
    if change is None or change <= ENOUGH:
        return
    n, there = points[-1].samples, math.inf if result.data.train_n is None else result.data.train_n
    sentence = f"Ranges still change by {change:.0%} from {points[-2].samples} to {n} samples: they are not enough."
    if n < there:
        more = min(2 * n, there)
        yield JobAdvice(sentence, f"Calibrate on {more}", result.job, {"calibration": more})
    else:
        yield JobAdvice(f"{sentence} The data have no more.")
