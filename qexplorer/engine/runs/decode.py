"""Documents of older versions, as the fields that results have now."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from qexplorer.engine.runs.run_spec import RunSpec

DONE = tuple(f.name for f in fields(RunSpec))
ASKED_TOO = ("engine", "threads", "device", "repairs", "preset", "widths", "layer")
"""What settings are called as well."""


def decoded(document: Any) -> Any:
    """A parsed JSON document. Anything but a table is left as it is, for `settings.read` to refuse."""
    if not isinstance(document, dict):
        return document
    found = dict(document)
    spec = found.get("spec")
    if isinstance(spec, dict):
        found["spec"] = _done(spec)
        found.setdefault("settings", _asked(spec, found))
    if found.get("findings") == {}:
        found["findings"] = None
    if isinstance(found.get("layers"), list):
        found["layers"] = [_layer(each) for each in found["layers"]]
    return found


def _done(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What was done; in version 1 some jobs had their repairs as text."""
    done = {name: spec[name] for name in DONE if name in spec}
    if isinstance(done.get("repairs"), str):
        done["repairs"] = [word.strip() for word in done["repairs"].split(",") if word.strip()]
    for name, kind in (("preset", dict), ("widths", list)):  # else they are settings
        if not isinstance(done.get(name), kind):
            done.pop(name, None)
    return done


def _asked(spec: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a `spec` of version 1, as far as they were not overwritten by what was done."""
    asked = {name: value for name, value in spec.items() if name not in DONE or name in ASKED_TOO}
    if isinstance(asked.get("repairs"), list):
        asked["repairs"] = ",".join(map(str, asked["repairs"]))
    if isinstance(asked.get("preset"), dict):  # that of a comparison, after which its row is called
        asked["preset"] = document["rows"][-1]["name"] if document.get("rows") else ""
    return {name: value for name, value in asked.items() if isinstance(value, str | int | float | bool)}


def _layer(layer: Any) -> Any:
    """Null, in figures that say so, is 0 or nothing here."""
    if not isinstance(layer, dict):
        return layer
    none = {name: empty for name, empty in (("scale", 0.0), ("errors", [])) if layer.get(name, 0) is None}
    return {**layer, **none}
