"""The measurements of scripts/benchmark.py: one file a family, and the name of every figure."""

MEASUREMENTS = {
    "exact-int8-tensor": "exact",
    "exact-int4-group128": "exact",
    "exact-bf16-group128": "exact",
    "sketch-float32": "sketches",
    "sketch-bfloat16": "sketches",
    "any-scheme-from-sketch": "sketches",
    "observer-sweep": "sketches",
    "slider-tensor": "sliders",
    "slider-channel": "sliders",
    "slider-group": "sliders",
    "scan": "scans",
    "list-tensors": "lists",
    "list-sparse": "lists",
    "start-window": "starts",
    "start-sample": "starts",
    "heartbeat": "heartbeats",
    "sensitivity": "whole_models",
    "calibration": "whole_models",
}
"""Every figure and the module that measures it."""


def chosen(only: list[str]) -> dict[str, list[str]]:
    """The names of each module to measure: all, or those in `only` and those that begin with one of them and a dash.

    Raises `LookupError` for a name that is none.
    """
    names = list(MEASUREMENTS)
    if only:
        for each in only:
            if not any(_means(each, name) for name in names):
                raise LookupError(f"There is no figure “{each}”. Known: {', '.join(names)}.")
        names = [name for name in names if any(_means(each, name) for each in only)]
    modules: dict[str, list[str]] = {}
    for name in names:
        modules.setdefault(MEASUREMENTS[name], []).append(name)
    return modules


def _means(each: str, name: str) -> bool:
    return name == each or name.startswith(f"{each}-")
