"""The packages that have to be of one version on this machine and on every worker."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from qexplorer.errors import UserError
from qexplorer.text import printable

PACKAGES = ("qexplorer", "torch")


def versions() -> dict[str, str]:
    """The release of each of `PACKAGES` without its build; empty where it is not installed."""
    return {package: _release(package) for package in PACKAGES}


def require_versions(worker: str, found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Raise a `UserError` that names the worker, where one of `PACKAGES` has another release there."""
    for package, release in wanted.items():
        if found.get(package) != release:
            own = printable(found.get(package, ""), 40)
            has = f"has {package} {own}" if own else f"does not have {package}"
            what = f"The worker {worker} {has}; {release} is needed."
            raise UserError(what, f"Install {package} {release} on every worker.", field="on")


def _release(package: str) -> str:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return ""
