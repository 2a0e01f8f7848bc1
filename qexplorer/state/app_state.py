"""`AppState`: everything that the person chose, as one frozen value."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast, get_args

from qexplorer.cluster.place import LOCAL, NO_TLS, TLS, Tls
from qexplorer.engine.jobs import Job, jobs
from qexplorer.engine.jobs.ptq_static import PtqStatic
from qexplorer.errors import UserError
from qexplorer.quant.spec import QuantSpec

Theme = Literal["system", "light", "dark"]
ErrorView = Literal["histogram", "channels"]


@dataclass(frozen=True)
class StudyChoice:
    """The file of a study, where it runs, and the paths of the files that an address with `tls://` needs."""

    file: str = ""
    on: str = LOCAL
    ca: str = ""
    cert: str = ""
    key: str = ""

    @property
    def tls(self) -> Tls:
        """The files, where the address needs them."""
        return Tls(self.ca, self.cert, self.key) if self.on.startswith(TLS) else NO_TLS


@dataclass(frozen=True)
class AppState:
    """At once cache key, undo entry, session file, thread-safe snapshot and test input.

    `path` is the opened file or folder (or `synthetic:…`), empty for none; `tensor` the selected tensor's name;
    `compared` are specs that stand beside `spec` where all layers are compared.
    """

    path: str = ""
    tensor: str = ""
    spec: QuantSpec = field(default_factory=QuantSpec)
    compared: tuple[QuantSpec, ...] = ()
    job: Job = field(default_factory=PtqStatic)
    study: StudyChoice = field(default_factory=StudyChoice)
    log_counts: bool = False
    error_view: ErrorView = "histogram"
    theme: Theme = "system"

    def to_json(self) -> dict[str, Any]:
        """The state as plain JSON values."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        settings = dataclasses.asdict(self.job)  # pyright: ignore[reportArgumentType]
        compared = [spec.to_json() for spec in self.compared]
        job = {"name": self.job.name, **settings}
        study = dataclasses.asdict(self.study)
        return {**values, "spec": self.spec.to_json(), "compared": compared, "job": job, "study": study}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "AppState":
        """The state of `to_json`'s output. Raises `UserError` where a value is not one of this program's."""
        try:
            known = {f.name for f in dataclasses.fields(cls)}
            fields: dict[str, Any] = {k: v for k, v in values.items() if k in known}
            if "spec" in fields:
                fields["spec"] = QuantSpec.from_json(fields["spec"])
            if "compared" in fields:
                fields["compared"] = tuple(QuantSpec.from_json(each) for each in fields["compared"])
            if "job" in fields:
                settings = dict(fields["job"])
                fields["job"] = jobs[settings.pop("name")](**settings)
            if "study" in fields:
                fields["study"] = StudyChoice(**fields["study"])
            state = cls(**fields)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise UserError("The session does not fit this version of qexplorer.") from error
        if not all(map(_well_typed, (state, state.job, state.study))):
            raise UserError("The session does not fit this version of qexplorer.")
        defaults = {"theme": "system", "error_view": "histogram"}
        choices = {"theme": get_args(Theme), "error_view": get_args(ErrorView)}
        strange = {name: default for name, default in defaults.items() if getattr(state, name) not in choices[name]}
        return replace(state, **strange) if strange else state


def _well_typed(settings: Any) -> bool:
    """Whether every plain field of a dataclass has a value of its default's type; a whole number may be a float's."""
    for each in dataclasses.fields(settings):
        kind = cast("type[object]", type(each.default))
        value = getattr(settings, each.name)
        if kind in (str, int, bool, float) and type(value) is not kind and (kind, type(value)) != (float, int):
            return False
    return True


TITLES = {
    "path": "open file",
    "tensor": "tensor",
    "compared": "compared specs",
    "job": "job settings",
    "study": "study settings",
    "log_counts": "count axis",
    "error_view": "error view",
    "theme": "theme",
    "format": "format",
    "granularity": "granularity",
    "observer": "observer",
}
"""How the undo menu calls a field, where its own name would not do."""


def describe(old: AppState, new: AppState) -> str:
    """What differs between two states, in a few words for the undo menu, e.g. `format INT8 → INT4`."""
    if old.spec != new.spec:
        before, after = old.spec.to_json(), new.spec.to_json()
        name = next(k for k in before if before[k] != after[k])
        return f"{TITLES.get(name, name)} {before[name]} → {after[name]}"
    changed = [f.name for f in dataclasses.fields(AppState) if getattr(old, f.name) != getattr(new, f.name)]
    return TITLES.get(changed[0], changed[0]) if changed else ""
