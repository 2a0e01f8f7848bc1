"""What the tests of this room share: a runner that ends with its test, and work to give it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file
from watched_preview import Watched, weights

from qexplorer.progress import Progress, Steps
from qexplorer.state.app_state import AppState
from qexplorer.state.runner import Runner


class Log(list):
    """What a generator did, in order; `closed` when its `finally` ran."""

    def __init__(self) -> None:
        super().__init__()
        self.started = threading.Event()
        self.closed = threading.Event()
        self.release = threading.Event()

    def endless(self, name: str = "endless") -> Steps[None]:
        """Work that goes on until it is closed."""
        self.append(f"{name} began")
        self.started.set()
        try:
            while True:
                self.release.wait(0.001)
                yield Progress("Turning")
        finally:
            self.append(f"{name} closed")
            self.closed.set()

    def short(self, name: str) -> Steps[str]:
        """Work of one step that returns its name."""
        self.append(name)
        yield Progress(name)
        return name


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def new_runner(qapp: object) -> Iterator[Callable[..., Runner]]:
    made: list[Runner] = []

    def make(name: str = "test", **options: Any) -> Runner:
        made.append(Runner(name, **options))
        return made[-1]

    yield make
    for runner in made:
        assert runner.close()


@pytest.fixture
def runner(new_runner: Callable[..., Runner]) -> Runner:
    return new_runner()


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "one.safetensors"
    save_file(weights(1), path)
    return str(path)


@pytest.fixture
def watch(qapp: object) -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def make(**fields: Any) -> Watched:
        made.append(Watched(AppState(**fields)))
        return made[-1]

    yield make
    for each in made:
        assert each.layers.close()
        assert each.preview.close()
