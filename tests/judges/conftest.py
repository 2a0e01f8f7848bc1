"""The judges' bench: each module asks software, mathematics or published numbers that this project did not write.

A test says through `verdict` how many cases it put before its judge, which formats they were in, and what could not be
judged and why. `scripts/judges.py` makes a table of it.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("judges", deadline=None, max_examples=60, derandomize=True,
                          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
settings.load_profile("judges")

HERE = Path(__file__).parent
COVERED = pytest.StashKey[set[str]]()
HEARD = pytest.StashKey[set[str]]()


class Verdict:
    """What one test tells of its judge."""

    def __init__(self, node: pytest.Item, judge: str) -> None:
        self._properties = node.user_properties
        self._covered = node.config.stash.setdefault(COVERED, set())
        self._properties.append(("judge", judge))

    def checked(self, cases: int = 1, formats: tuple[str, ...] = ()) -> None:
        """So many cases agreed with the judge, and they were in these formats."""
        self._properties.append(("checked", cases))
        self._covered.update(formats)

    def not_applicable(self, what: str, why: str) -> None:
        """Cases that the judge has and that cannot be put to this project."""
        self._properties.append(("not applicable", f"{what}: {why}"))


@pytest.fixture
def verdict(request: pytest.FixtureRequest) -> Verdict:
    request.config.stash.setdefault(HEARD, set()).add(request.path.name)
    return Verdict(request.node, request.module.JUDGE)


@pytest.fixture
def covered(request: pytest.FixtureRequest) -> Iterator[set[str]]:
    """The formats that were judged so far; skips where only a part of the judges was heard."""
    silent = {path.name for path in HERE.glob("test_*.py")} - request.config.stash.get(HEARD, set())
    silent.discard(request.path.name)
    if silent:
        pytest.skip(f"only some judges were heard; not {', '.join(sorted(silent))}")
    yield request.config.stash.get(COVERED, set())


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20250101)
