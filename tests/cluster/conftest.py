"""What the tests of studies share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from qexplorer.cluster import client, exchange, remote_worker, worker
from qexplorer.cluster.artifact import MODEL
from qexplorer.cluster.mailbox import Mailbox
from qexplorer.engine.runs.history import History
from tests.cluster.fake_dask import FakeDask, Work
from tests.cluster.one_run import CHUNK, CONTENT, Start, until_idle


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history.sqlite3")


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Makes a Dask whose workers do what they are given."""
    monkeypatch.setattr(exchange, "CHUNK", CHUNK)
    for module in (client, remote_worker):
        monkeypatch.setattr(module, "RETRY_S", 0.0)
    monkeypatch.setattr(client, "WATCH_S", 0.02)
    monkeypatch.setattr(worker, "EVERY_S", 0.02)
    folder = tmp_path / "worker"
    folder.mkdir()

    def fake(work: Work) -> FakeDask:
        dask = FakeDask(folder, work)
        for module in (client, exchange):
            monkeypatch.setattr(module, "Connection", dask)
        monkeypatch.setattr(worker, "run_job", dask.run_job)
        return dask

    yield fake
    until_idle()
    assert not list(tmp_path.rglob("incoming"))
    assert not list(folder.iterdir())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "made.pt"
    file.write_bytes(CONTENT)
    return file


@pytest.fixture
def send_model(model: Path) -> Work:
    """The work of a run that makes a model."""

    def work(mailbox: Mailbox) -> None:
        mailbox.journal()
        with model.open("rb") as content:
            mailbox.send(MODEL, "w8a32", content)

    return work
