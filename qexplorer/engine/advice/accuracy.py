"""Accuracy that quantization or training has lost: whether that is more than chance, what costs it, what helps."""

import statistics
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from qexplorer.engine.advice.base import CHANCE, DROP, JobAdvice, chance, drop, recipe_of
from qexplorer.engine.advice.kernels import of_kernels
from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.ptq_dynamic import PER_TOKEN
from qexplorer.engine.repair import parse_repairs
from qexplorer.engine.runs.curve_points import EpochPoint
from qexplorer.engine.runs.findings import Front, TrainingFindings
from qexplorer.engine.runs.layer_figures import LayerFigures
from qexplorer.engine.runs.results import REAL, Row, RunResult
from qexplorer.engine.simulation.repair_step import adapted
from qexplorer.errors import UserError
from qexplorer.quant.recipe import LayerSpec, Recipe

WEIGHTS, ACTIVATIONS, EITHER = "weights", "activations", "either"
SUFFICE, EXCEEDS = 0.4, 1.0
"""The relative error of outputs, the median of the layers, over the sum of those of all weights. With float activations
it is below the first, whatever the weights; above the second, activations are to blame.
"""
FELT, SPOILT = 0.05, 0.5
"""A relative error that answers hardly feel, and one beside which other errors are not seen any more."""
WIDE, RATE = 8, 5e-4
READS = "uint8 affine mse"
CHOOSERS = ("adaround", "gptq")


def dropped(result: RunResult) -> Iterator[JobAdvice]:
    """A row, simulated or of real kernels, that is less often right than the float model."""
    for row in result.rows[1:]:
        if isinstance(result.findings, TrainingFindings) or drop(result, row) <= DROP:
            continue
        p, rows = chance(result, row), (row.name,)
        if p < CHANCE:
            yield replace(_lost(result, row), rows=rows)
        elif result.settings.get("limit"):
            points = f"{row.name} is {_points(result, row)} below the float model"
            yield JobAdvice(f"{points} on {row.n} samples, which may be chance (McNemar: p up to {p:.2g}).",
                            "Test on all samples", result.job, {"limit": 0}, rows=rows)  # fmt: skip


def trained(result: RunResult) -> Iterator[JobAdvice]:
    """Training that diverged, made the model worse or did not reach the float model."""
    found = result.findings
    if not isinstance(found, TrainingFindings):
        return
    said = " ".join(filter(None, (found.stopped, found.worse)))
    rate = float(f"{min(float(result.settings.get('rate', RATE)) / 10, RATE):.2g}")
    slower = (f"Train at a learning rate of {rate:g}", "qat", {"rate": rate})
    if said:
        yield JobAdvice(said, *slower)
        return
    lossy = [row for row in result.rows[1:] if drop(result, row) > DROP and chance(result, row) < CHANCE]
    for row in lossy:
        if row.kind == REAL and result.rows[1] not in lossy:
            lost = f"{row.name} loses {_points(result, row)} of top-1, which its simulation does not"
            yield JobAdvice(f"{lost}: int8 kernels also round what lies between the layers.", rows=(row.name,))
        else:
            yield replace(_still(result, row, slower), rows=(row.name,))


def _still(result: RunResult, row: Row, slower: tuple[str, str, dict[str, Any]]) -> JobAdvice:
    """What to do about a loss that training has left."""
    epochs = [point for point in result.history if isinstance(point, EpochPoint)]
    lost, twice = f"{row.name} still loses {_points(result, row)} of top-1", 2 * len(epochs)
    steps = _to_start(result)
    if steps:
        sentence = f"{lost}, and it started from weights that were rounded as they are."
        return JobAdvice(sentence, "Start from PTQ with repairs", "qat", {"start": "ptq", "repairs": ",".join(steps)})
    if epochs and epochs[-1].best:
        more = (f"Train for {twice} epochs", "qat", {"epochs": twice})
        return JobAdvice(f"{lost}, and its last epoch was its best.", *more)
    return JobAdvice(f"{lost}, and later epochs were no better than an earlier one.", *slower)


def _to_start(result: RunResult) -> list[str]:
    """The repairs of PTQ from which training that started from the float model would start better; empty: none."""
    recipe = recipe_of(result)
    if result.settings.get("start") != "float" or recipe.every.weights is None:
        return []
    steps = _repaired(recipe, [], norms=False)
    return steps if any(step.startswith(CHOOSERS) for step in steps) else []


def _points(result: RunResult, row: Row) -> str:
    return f"{100 * drop(result, row):.1f} points"


def _lost(result: RunResult, row: Row) -> JobAdvice:
    """What to say of a loss that is more than chance."""
    recipe, lost = recipe_of(result), f"{row.name} loses {_points(result, row)} of top-1"
    if result.spec.kept is not None:
        return _of_cast(result, lost)
    if row.kind == REAL:
        return of_kernels(result, row, lost)
    if recipe.every == LayerSpec():
        return JobAdvice(f"{lost}.")
    cause = _cause(result, row, recipe)
    if cause == ACTIVATIONS:
        return _of_activations(result, row, recipe, lost)
    if cause == WEIGHTS:
        return _of_weights(result, recipe, f"{lost} by its weights at {_bits(result, recipe):.1f} bits")
    every = recipe.every
    assert every.weights is not None and every.activations is not None  # noqa: S101, PT018  either may be the cause
    alone = "; ".join(f"{rule.subject}={LayerSpec(rule.spec.weights).text}" for rule in reversed(recipe.rules))
    return JobAdvice(
        f"{lost}: its weights ({every.weights.short}) or its activations ({every.activations.short}) may cost that.",
        "Try the weights alone", "weight-only", {"activation_spec": "float", "overrides": alone},
    )  # fmt: skip


def _cause(result: RunResult, row: Row, recipe: Recipe) -> str:
    """Whose error makes that of the outputs, as far as the layers' figures say."""
    if recipe.every.activations is None:
        return WEIGHTS
    if recipe.every.weights is None:
        return ACTIVATIONS
    layers = _figures(result, row)
    weights = sum(_noise(layer.weight_sqnr_db or 0.0) for layer in layers)
    outputs = [_noise(layer.output_sqnr_db) for layer in layers if layer.row and layer.output_sqnr_db is not None]
    if not outputs:  # a sensitivity's are those of one layer alone
        return ACTIVATIONS if layers and weights < FELT else EITHER
    error = statistics.median(outputs)
    if error > EXCEEDS * weights:
        return ACTIVATIONS
    clear = recipe.every.activations.format.storage_bits >= WIDE or error < SPOILT
    return WEIGHTS if error < SUFFICE * weights and clear else EITHER


def _figures(result: RunResult, row: Row) -> list[LayerFigures]:
    """The layers of a row whose weights were measured."""
    return [each for each in result.layers if each.row in ("", row.name) and each.weight_sqnr_db is not None]


def _noise(db: float) -> float:
    """The relative error of an SQNR in dB."""
    return 10.0 ** (-db / 10)


def _bits(result: RunResult, recipe: Recipe) -> float:
    spec = recipe.every.weights
    known = result.spec.average_bits
    return known if known is not None else spec.format.storage_bits if spec is not None else 32


def _of_cast(result: RunResult, lost: str) -> JobAdvice:
    sentence = f"{lost} by its weights and activations in {result.settings['to']}."
    if "auto" in str(result.settings.get("keep", "")):
        return JobAdvice(sentence, "Cast to bf16", result.job, {"to": "bf16", "activation_spec": ""})
    return JobAdvice(sentence, "Keep the most sensitive layers", result.job, {"keep": "first,last,auto:3"})


def _of_activations(result: RunResult, row: Row, recipe: Recipe, lost: str) -> JobAdvice:
    spec = recipe.every.activations
    assert spec is not None  # noqa: S101  they are to blame
    sentence, layers = f"{lost} by its activations ({spec.short})", _figures(result, row)
    if layers and recipe.every.weights is not None:
        sentence += f": weights keep {statistics.median(each.weight_sqnr_db or 0.0 for each in layers):.1f} dB"
    better = READS if result.spec.dynamic is None else PER_TOKEN
    if spec.short == better:
        return _to_train(result, recipe, f"{sentence}.")
    remedy = "Read 8 bits" if spec.format.storage_bits < WIDE else "Find better ranges"
    return JobAdvice(f"{sentence}.", f"{remedy}: {better}", result.job, {"activation_spec": better})


def _of_weights(result: RunResult, recipe: Recipe, lost: str) -> JobAdvice:
    own = list(result.spec.repairs or ())
    steps = _repaired(recipe, own, norms=bool(result.spec.folded))
    added = [step for step in steps if step not in own and step != "fold"]
    if any(step.startswith(CHOOSERS) for step in own) or not added:
        return _to_train(result, recipe, f"{lost}, after repair: training may win back the rest.")
    titles = ", ".join(step.title for step in parse_repairs(",".join(added)))
    spec = recipe.every.weights
    how = "rounded to nearest" if spec is None or spec.rounding.to_nearest else f"rounding {spec.rounding.text}"
    return JobAdvice(f"{lost}, {how}.", f"Repair: {titles}", result.job, {"repairs": ",".join(steps)})


def _repaired(recipe: Recipe, own: list[str], *, norms: bool) -> list[str]:
    """The repairs `own` with those that are worth a try, as far as all specs of weights take them."""
    choosers = ("adaround:500", "gptq") if norms else ("gptq",)
    wanted = ("fold", *(("cle",) if norms else ()), "mse_clip", *choosers, "bias_correction")
    names, steps = {step.partition(":")[0] for step in own}, list(own)
    for step in wanted:
        if step.partition(":")[0] in names:
            continue
        try:
            _check(recipe, [*steps, step])
        except UserError:
            continue
        steps.append(step)
    return steps


def _check(recipe: Recipe, steps: list[str]) -> None:
    """Raise a `UserError` where repairs do not go with each other or with the spec of a layer's weights."""
    repairs = parse_repairs(",".join(steps))
    for own in recipe.specs:
        adapted(own.weights, repairs)


def _to_train(result: RunResult, recipe: Recipe, sentence: str) -> JobAdvice:
    """Training with quantization, where it can begin with what the run made."""
    spec = recipe.every.weights
    if spec is None or not spec.rounding.to_nearest or result.spec.dynamic is not None:
        return JobAdvice(sentence)
    settings: dict[str, Any] = {"epochs": 3, "start": "ptq"}
    if result.run_id and jobs[result.job].trainable:
        settings["start"] = result.run_id
    if isinstance(result.findings, Front):  # the widths that a bit budget found
        settings["overrides"] = result.findings.overrides
    return JobAdvice(sentence, "Train with quantization (QAT), from here on", "qat", settings)
