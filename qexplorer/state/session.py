"""The last session: the state as a JSON file of the person's own, written whole or not at all."""

import json
from pathlib import Path
from typing import Any, cast

from qexplorer.errors import UserError
from qexplorer.folders import write_whole
from qexplorer.quant.formats import formats
from qexplorer.quant.recipe import Recipe
from qexplorer.quant.spec import QuantSpec
from qexplorer.settings import read
from qexplorer.state.app_state import AppState

VERSION = 3
"""In version 1 a file's tensors were quantized in groups along the last axis, and `channel` alone was axis 0. Up to
version 2 one spec was for all tensors, and what a job quantized stood in its own settings."""
SAMPLE = "mobilenet_v2_digits"
"""What jobs were on up to version 2 unless something else was chosen, whatever file was open."""
STARTED = "A new session was started."


def save_session(path: Path, state: AppState) -> None:
    """Write the state. Raises `UserError` where the disk is full or the folder cannot be written."""
    content = json.dumps({"version": VERSION, "state": state.to_json()}, indent=1)
    try:
        write_whole(path, content.encode())
    except UserError as error:
        raise UserError(f"The session could not be saved. {error.what}", error.remedy) from error


def load_session(path: Path) -> AppState | None:
    """The saved state, or `None` where there is no file. Raises `UserError` for a file that is not a session."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The session {path} cannot be read.", STARTED) from error
    try:
        document: Any = json.loads(text)
        if not isinstance(document, dict) or document.get("version") not in (1, 2, VERSION):  # pyright: ignore[reportUnknownMemberType]
            raise UserError(f"The session {path} was written by another version.", STARTED)
        try:
            return AppState.from_json(_state_of(cast("dict[str, Any]", document)))
        except UserError as error:
            raise UserError(f"The saved session could not be used. {error}", STARTED) from error
    except (ValueError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"The session {path} is damaged.", STARTED) from error


def _state_of(document: dict[str, Any]) -> Any:
    """The state in a document, as this version writes it. The specs of jobs mean what they meant: a job has always
    taken groups from the flattened inputs.
    """
    state: Any = document["state"]
    version = document["version"]
    if version == VERSION or not isinstance(state, dict):
        return state
    known = cast("dict[str, Any]", state)
    compared: Any = known.get("compared", ())
    job = cast("dict[str, Any]", known["job"]) if isinstance(known.get("job"), dict) else {}
    if job.get("model") == SAMPLE and not job.get("weights"):
        known = {**known, "job": {**job, "model": ""}}
    own: dict[str, Any] = {"recipe": _recipe(known, version).to_json()} if "spec" in known else {}
    if isinstance(compared, list):
        specs = [_spec(each, version) for each in cast("list[Any]", compared)]
        own["compared"] = [Recipe.of_weights(spec).to_json() for spec in specs]
    return {**known, **own}


def _recipe(state: dict[str, Any], version: int) -> Recipe:
    """The spec that was explored, with the activations, the exceptions and the repairs of the job that was set."""
    spec, job = _spec(state["spec"], version), state.get("job")
    fields = cast("dict[str, Any]", job) if isinstance(job, dict) else {}
    settings = [str(fields.get(name, "")) for name in ("activation_spec", "overrides", "repairs")]
    try:
        return Recipe.parse(spec.short, *settings)
    except UserError:  # the window said so, too, and let it stand
        return Recipe.of_weights(spec)


def _spec(fields: Any, version: int) -> QuantSpec:
    return read(QuantSpec, _literal(fields) if version == 1 else fields, "the session")


def _literal(spec: Any) -> Any:
    """A spec of version 1 with the axes that its words stood for; blocks that belong to a format stay its own."""
    if not isinstance(spec, dict):
        return spec
    fields = cast("dict[str, Any]", spec)
    name, colon, rest = str(fields.get("granularity", "")).partition(":")
    new = {"group": f"last_axis{colon}{rest}", "channel": f"channel:{rest or 0}", "block": f"block:{rest}x0"}.get(name)
    own = name == "block" and "granularity" not in formats[str(fields["format"])].applies
    return {**fields, "granularity": new} if new and not own else fields
