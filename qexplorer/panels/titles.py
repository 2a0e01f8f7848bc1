"""What runs and their rows are called on screen: by what was done, so that they can be told apart."""

import re
from collections.abc import Mapping
from typing import Any

from qexplorer.engine.backends import backends
from qexplorer.engine.jobs import jobs
from qexplorer.engine.models import models
from qexplorer.engine.runs.results import SIMULATED, Row, RunResult
from qexplorer.quant.recipe import FLOATS

BITS_ALONE = re.compile(r"(qat-)?w\d+a\d+")
"""Names of rows that say no more than the specs."""
MIXED = "mixed-"
"""How the names of rows begin whose layers have widths of their own."""
SETTINGS = {"weight_spec": "weights", "activation_spec": "activations", "repairs": "repairs", "overrides": "overrides"}
"""What tells simulations apart, and what it is called."""


def job_title(name: str) -> str:
    """A job as people call it."""
    return next((job.title for job in jobs if job.name == name), name)


def model_title(name: str) -> str:
    """A model as people call it; a file's name stays."""
    return next((model.title for model in models if model.name == name), name)


def specs_title(settings: Mapping[str, Any], *, weights: bool = True) -> str:
    """The specs, the repairs beside folding and how many overrides there are: `int4 channel:0 / uint8 affine · gptq`;
    empty where nothing was simulated.
    """
    specs = [str(settings.get(name) or "") for name in ("weight_spec", "activation_spec")]
    own, read = ("" if spec in FLOATS else spec for spec in specs)
    overrides = len(list(filter(None, map(str.strip, str(settings.get("overrides") or "").split(";")))))
    parts = [
        " / ".join(filter(None, ((own or (read and FLOATS[0])) if weights else "", read))),
        ", ".join(word for word in _repairs(settings) if word != "fold"),
        f"{overrides} override{'s' if overrides > 1 else ''}" if overrides else "",
    ]
    return " · ".join(filter(None, parts))


def row_title(result: RunResult, row: Row) -> str:
    """A row, without its job."""
    if row == result.rows[0]:
        return "FP32"
    presets = {p.name: p.title for backend in backends for p in backend.presets}
    name = "" if BITS_ALONE.fullmatch(row.name) else presets.get(row.name, re.sub("[-_]", " ", row.name))
    simulated = row.kind == SIMULATED and result.spec.kept is None  # a cast's row says it all
    specs = specs_title(result.settings, weights=not row.name.startswith(MIXED)) if simulated else ""
    return " · ".join(filter(None, (name, specs))) or row.name


def told(settings: Mapping[str, Any]) -> str:
    """The settings that tell simulations apart, a line each; empty where there are none."""
    words = {**settings, "repairs": ", ".join(_repairs(settings))}
    return "\n".join(f"{title} {words[name]}" for name, title in SETTINGS.items() if words.get(name))


def _repairs(settings: Mapping[str, Any]) -> list[str]:
    return [word.strip() for word in str(settings.get("repairs") or "").split(",") if word.strip()]
