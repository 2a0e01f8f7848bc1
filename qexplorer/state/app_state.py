"""`AppState`: everything that the person chose, as one frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from qexplorer.cluster.address import LOCAL, NO_TLS, TLS, Tls
from qexplorer.engine.jobs import Job, jobs
from qexplorer.engine.jobs.ptq_static import PtqStatic
from qexplorer.errors import UserError
from qexplorer.quant.recipe import LayerSpec, Recipe
from qexplorer.quant.spec import QuantSpec
from qexplorer.settings import Setting, read, schema, setting, write
from qexplorer.state.subject import Subject
from qexplorer.text import printable

Theme = Literal["system", "light", "dark"]
Workspace = Literal["explore", "quantize", "learn"]
WORKSPACES = get_args(Workspace)
ErrorView = Literal["histogram", "channels"]
PEM = "PEM files (*.pem *.crt *.cer *.key)"


@dataclass(frozen=True)
class StudyChoice:
    """The file of a study, where it runs, and the paths of the files that an address with `tls://` needs."""

    file: str = setting("", "Study file", "A TOML file with the job and its grid; `qexplorer study --help` shows one",
                        browse="file", files="Studies (*.toml)")  # fmt: skip
    on: str = setting(LOCAL, "Run on", f"“{LOCAL}”, or the address of a Dask scheduler: tcp://HOST:8786 or "
                      f"{TLS}HOST:8786", empty=LOCAL)  # fmt: skip
    ca: str = setting("", "CA file", "The certificate of the authority that vouches for the cluster, PEM",
                      browse="file", files=PEM)  # fmt: skip
    cert: str = setting("", "Certificate", "Your own certificate, PEM", browse="file", files=PEM)
    key: str = setting("", "Key", "The key of your certificate, PEM, without a passphrase", browse="file", files=PEM)

    def __post_init__(self) -> None:
        object.__setattr__(self, "on", self.on or LOCAL)

    @property
    def tls(self) -> Tls:
        """The files, where the address needs them."""
        return Tls(self.ca, self.cert, self.key) if self.on.startswith(TLS) else NO_TLS


@dataclass(frozen=True)
class AppState:
    """At once cache key, undo entry, session file, thread-safe snapshot and test input.

    `path` is the opened file or folder (or `synthetic:…`), empty for none; `tensor` the selected tensor's name;
    `compared` are recipes that stand beside `recipe` where all layers are compared; `subjects` has what was chosen for
    each file that jobs were run on. A job without a model is on the open file.
    """

    path: str = setting("", "open file")
    tensor: str = setting("", "tensor")
    recipe: Recipe = setting(Recipe(), "recipe")
    compared: tuple[Recipe, ...] = setting((), "compared recipes")
    job: Job = setting(PtqStatic(model=""), "job settings", registry=jobs)
    subjects: tuple[Subject, ...] = setting((), "choices for files")
    study: StudyChoice = setting(StudyChoice(), "study settings")
    log_counts: bool = setting(False, "count axis")
    error_view: ErrorView = setting("histogram", "error view", choices=get_args(ErrorView))
    theme: Theme = setting("system", "theme", choices=get_args(Theme))
    workspace: Workspace = setting("explore", "workspace", choices=WORKSPACES)

    def to_json(self) -> dict[str, Any]:
        """The state as plain JSON values."""
        return write(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The state of `to_json`'s output. Raises `UserError` where a value is not one of this program's.

        What another version wrote besides is left out, and so is a choice that this one does not have.
        """
        where = "the session"
        if not isinstance(values, dict):
            raise UserError("The session is not a table of settings.")
        known = {each.name: each for each in schema(cls)}
        own = {name: value for name, value in values.items() if name in known and not _is_unknown(known[name], value)}
        return read(cls, own, where, strict=True)


def _is_unknown(view: Setting, value: Any) -> bool:
    """Whether a choice is one of another version."""
    return bool(view.choices) and isinstance(value, str) and value not in view.values


def describe(old: AppState, new: AppState) -> str:
    """What differs between two states, in a few words for the undo menu, e.g. `format INT8 → INT4`."""
    if old.recipe != new.recipe:
        return _describe_recipe(old.recipe, new.recipe)
    return next((each.title for each in schema(AppState) if getattr(old, each.name) != getattr(new, each.name)), "")


def _describe_recipe(old: Recipe, new: Recipe) -> str:
    before, after = ({rule.subject: rule.spec for rule in recipe.rules} for recipe in (old, new))
    if old.every != new.every:
        return _describe_specs(old.every, new.every)
    changed = [subject for subject, spec in after.items() if spec != before.get(subject, spec)]
    if len(changed) == 1 and len(before) == len(after):
        return f"{_describe_specs(before[changed[0]], after[changed[0]])} for {printable(changed[0], 40)}"
    added, gone = after.keys() - before.keys(), before.keys() - after.keys()
    if len(added) + len(gone) == 1:
        return f"rule for {printable(next(iter(added | gone)), 40)}"
    return "repairs" if old.rules == new.rules else "rules"


def _describe_specs(old: LayerSpec, new: LayerSpec) -> str:
    if old.weights is None or new.weights is None or old.weights == new.weights:
        return f"{old.text} → {new.text}"
    before, after = old.weights.to_json(), new.weights.to_json()
    first = next(each for each in schema(QuantSpec) if before[each.name] != after[each.name])
    return f"{first.title.lower()} {before[first.name]} → {after[first.name]}"
