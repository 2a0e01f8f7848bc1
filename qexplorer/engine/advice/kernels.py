"""What helps where real int8 kernels cost accuracy: they have fewer choices than a simulation."""

from qexplorer.engine.advice.base import DROP, JobAdvice, drop
from qexplorer.engine.backends import BACKEND
from qexplorer.engine.jobs import jobs
from qexplorer.engine.runs.results import Row, RunResult
from qexplorer.engine.runs.run_spec import KernelSpec
from qexplorer.settings import schema

PER_CHANNEL = BACKEND.presets[-1]
"""One scale for each output channel, and ranges from histograms."""
TRIAL = {"weight_spec": "int8 channel", "activation_spec": "uint8 affine mse", "modes": "alone", "overrides": ""}
"""In simulation, about what int8 kernels do at their best."""


def of_kernels(result: RunResult, row: Row, lost: str) -> JobAdvice:
    """What to say of a row of real kernels whose loss is more than chance: `lost` says how much it is."""
    kernels = _kernels(result, row)
    said = f"{lost} in int8"
    if kernels is not None:
        said += f": weights {_words(kernels.weights)}, activations {_words(kernels.activations)}"
    other = next((drop(result, each) for each in result.rows if each.name == PER_CHANNEL.name), 0.0)
    has_presets = "preset" in {each.name for each in schema(jobs[result.job])}
    if has_presets and row.name != PER_CHANNEL.name and other < drop(result, row) - DROP:
        known = any(each.name == PER_CHANNEL.name for each in result.rows)
        with_it = f" With one scale per channel it is {100 * other:.1f} points." if known else ""
        return JobAdvice(f"{said}.{with_it}", f"Take the preset {PER_CHANNEL.title}: one scale per channel", result.job,
                         {"preset": PER_CHANNEL.name})  # fmt: skip
    return JobAdvice(f"{said}.", "Find the layers that cost it", "sensitivity", TRIAL)


def _kernels(result: RunResult, row: Row) -> KernelSpec | None:
    """How the kernels of a row were given weights and activations, where the run says so."""
    spec = result.spec
    return (spec.presets or {}).get(row.name) or spec.preset or spec.dynamic


def _words(facts: object) -> str:
    """`per_channel_symmetric` of an observer, as words."""
    return str(getattr(facts, "scheme", facts)).replace("torch.", "").replace("_", " ")
