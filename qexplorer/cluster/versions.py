"""The packages that have to be of one version on this machine and on every worker."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from qexplorer.errors import UserError

if TYPE_CHECKING:
    from distributed import Client

PACKAGES = ("qexplorer", "torch")


def versions() -> dict[str, str]:
    """The release of each of `PACKAGES` without its build; empty where it is not installed."""
    return {package: _release(package) for package in PACKAGES}


def require_versions(worker: str, found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Raise a `UserError` that names the worker, where one of `PACKAGES` has another release there."""
    for package, release in wanted.items():
        if found.get(package) != release:
            has = f"has {package} {found[package]}" if found.get(package) else f"does not have {package}"
            what = f"The worker {worker} {has}; {release} is needed."
            raise UserError(what, f"Install {package} {release} on every worker.", field="on")


async def check_workers(client: "Client", wanted: Mapping[str, str]) -> set[str]:
    """The workers' addresses; a `UserError` where one has other versions.

    They are asked by a function of Python's own: a worker may have none of this program.
    """
    found: dict[str, dict[str, str]] = {}
    for package in PACKAGES:
        answers: Any = await client.run(version, package, on_error="return")  # pyright: ignore[reportGeneralTypeIssues]
        for worker, answer in answers.items():
            found.setdefault(worker, {})[package] = answer.partition("+")[0] if isinstance(answer, str) else ""
    for worker, own in found.items():
        require_versions(worker, own, wanted)
    return set(found)


def _release(package: str) -> str:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return ""
