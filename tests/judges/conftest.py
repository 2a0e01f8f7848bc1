"""The judges' bench: each module asks software, mathematics or published numbers that this project did not write.

A test says through `verdict` how many cases it put before its judge, in which formats a judge from outside agreed, and
what could not be judged and why. `scripts/judges.py` makes a table of it, and test_every_format.py, which runs last,
fails for a format that no judge from outside has seen.
"""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("judges", deadline=None, max_examples=60, derandomize=True,
                          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
settings.load_profile("judges")

HERE = Path(__file__).parent
LAST = "test_every_format.py"
COVERED = pytest.StashKey[set[str]]()
HEARD = pytest.StashKey[set[str]]()
REPORT = pytest.StashKey[pytest.TestReport]()


class Verdict:
    """What one test tells of its judge. One that says nothing counts as a case, and judges no format."""

    def __init__(self, node: pytest.Item) -> None:
        self._node = node
        self._said = False

    def checked(self, cases: int = 1, formats: tuple[str, ...] = ()) -> None:
        """So many cases agreed with the judge.

        `formats` are those whose codes, values or parameters were compared with what this project did not write:
        other software, published vectors or printed numbers. Mathematics of our own names none.
        """
        self._said = True
        self._node.user_properties.append(("checked", cases))
        self._node.config.stash.setdefault(COVERED, set()).update(formats)

    def not_applicable(self, what: str, why: str) -> None:
        """Cases that the judge has and that cannot be put to this project."""
        self._said = True
        self._node.user_properties.append(("not applicable", f"{what}: {why}"))

    def end(self) -> None:
        """Count a test that said nothing; only one that passed comes here."""
        if not self._said:
            self.checked()


@pytest.fixture(autouse=True)
def verdict(request: pytest.FixtureRequest) -> Iterator[Verdict]:
    request.config.stash.setdefault(HEARD, set()).add(request.path.name)
    own = Verdict(request.node)
    request.node.user_properties.append(("judge", request.module.JUDGE))
    yield own
    report = request.node.stash.get(REPORT, None)
    if report is not None and report.passed:
        own.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep how the test itself went for the fixture's end."""
    report = yield
    if report.when == "call":
        item.stash[REPORT] = report
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What counts the judged formats comes after all that judge."""
    items.sort(key=lambda item: item.path == HERE / LAST)


@pytest.fixture
def covered(request: pytest.FixtureRequest) -> set[str]:
    """The formats that were judged from outside; skips where only a part of the judges was heard."""
    silent = {path.name for path in HERE.glob("test_*.py")} - request.config.stash.get(HEARD, set())
    silent.discard(request.path.name)
    if silent:
        pytest.skip(f"only some judges were heard; not {', '.join(sorted(silent))}")
    return request.config.stash.get(COVERED, set())
