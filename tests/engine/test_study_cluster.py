"""Studies on a real scheduler with real workers, each a process of its own on the loopback."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qexplorer.engine.history import History
from qexplorer.engine.study import conversation
from qexplorer.engine.study.board import StudyProgress, StudyResult
from qexplorer.engine.study.book import Book
from qexplorer.engine.study.course import run_study
from qexplorer.engine.study.place import NO_TLS, Tls
from qexplorer.engine.study.study import Study
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, finish

pytestmark = pytest.mark.timeout(120)
TINY = """
job = "weight-only"
[settings]
model = "vit_digits"
limit = 16
calibration = 16
timing = "off"
threads = 1
"""
ONE = Study.parse(TINY)
SEEDS = Study.parse(TINY + "[grid]\nseed = [0, 1, 2]")
LONG = TINY + 'repairs = "fold,adaround:{}"\n'
"""AdaRound takes as long as it is given steps."""
SECONDS = Study.parse(LONG.format(300) + "[grid]\nseed = [0, 1, 2]")
MINUTES = Study.parse(LONG.format(30_000))


class Processes:
    """A scheduler and its workers, all on this machine; each has a process of its own."""

    def __init__(self, folder: Path, tls: Tls = NO_TLS, **environment: str) -> None:
        self.workers: list[subprocess.Popen[bytes]] = []
        self._folder, self._tls = folder, tls
        self._environment = {**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s", **environment}
        self._ends = ExitStack()
        told = folder / "scheduler.json"
        host = f"{'tcp' if tls == NO_TLS else 'tls'}://127.0.0.1"
        self.scheduler = self._start("scheduler", "--host", host, "--port", "0", "--scheduler-file", str(told))
        deadline = time.monotonic() + 60
        while not (told.exists() and told.read_text(encoding="utf-8").endswith("}")):
            assert time.monotonic() < deadline, (folder / "log.txt").read_text(encoding="utf-8")
            time.sleep(0.05)
        self.address = str(json.loads(told.read_text(encoding="utf-8"))["address"])

    def add_worker(self) -> None:
        one = ("--nthreads", "1", "--no-nanny", "--memory-limit", "0")
        self.workers.append(self._start("worker", self.address, *one))

    def lose_worker(self) -> None:
        """As where the plug of its machine is pulled."""
        worker = self.workers.pop(0)
        worker.kill()
        worker.wait()

    def close(self) -> None:
        """None of them is left, and nothing that they said is held open."""
        self._ends.close()

    def _start(self, kind: str, *words: str) -> "subprocess.Popen[bytes]":
        files: tuple[str, ...] = ()
        if self._tls != NO_TLS:
            files = ("--tls-ca-file", self._tls.ca, "--tls-cert", self._tls.cert, "--tls-key", self._tls.key)
        log = self._ends.enter_context((self._folder / "log.txt").open("ab"))
        command = [sys.executable, "-m", "dask", kind, *words, *files, "--no-dashboard"]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment, cwd=self._folder)
        self._ends.callback(process.wait)
        self._ends.callback(process.kill)
        return process


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """A scheduler and two workers."""
    processes = Processes(tmp_path_factory.mktemp("cluster"))
    try:
        processes.add_worker()
        processes.add_worker()
        yield processes
    finally:
        processes.close()
    assert processes.scheduler.returncode is not None


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A certificate that vouches for itself, as files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "qexplorer-test")]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    locked = serialization.NoEncryption()
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, locked))
    return Tls(str(folder / "cert.pem"), str(folder / "cert.pem"), str(folder / "key.pem"))


@contextmanager
def running(steps: Steps[StudyResult], n: int) -> Iterator[StudyProgress]:
    """Inside, `n` of the cells are in the middle of AdaRound. They are cancelled at the end, if they still run."""
    try:
        for step in steps:
            assert isinstance(step, StudyProgress)
            if sum("AdaRound" in cell.phase for cell in step.cells) == n:
                yield step
                return
        raise AssertionError("the study ended before")
    finally:
        steps.close()


def statuses(history: History) -> list[str]:
    return sorted(run.status for run in history.runs())


def test_the_results_of_workers_are_those_of_this_process(cluster: Processes, history: History, tmp_path: Path) -> None:
    here = History(tmp_path / "here" / "history.sqlite3")
    there, expected = finish(run_study(SEEDS, history, cluster.address)), finish(run_study(SEEDS, here))
    assert [cell.status for cell in there.cells] == ["done"] * 3
    assert there.notes == ()
    for cell, own in zip(there.cells, expected.cells, strict=True):
        assert [(r.name, r.top1, r.flips, r.bytes_theoretical) for r in cell.rows] == [
            (r.name, r.top1, r.flips, r.bytes_theoretical) for r in own.rows
        ]
        run = history.get(cell.run_id)
        assert (run.status, run.job) == ("done", "weight-only")
        assert json.loads(run.config_json) == json.loads(here.get(own.run_id).config_json)
        result = json.loads(run.result_json or "")
        assert (result["run_id"], result["seed"]) == (cell.run_id, cell.settings["seed"])
        assert result["spec"]["worker"]["address"].startswith("tcp://127.0.0.1:")
        assert cell.worker.startswith(result["spec"]["worker"]["address"])
        found, wanted = history.predictions(cell.run_id), here.predictions(own.run_id)
        assert found.keys() == wanted.keys() == {"fp32", "w8a32"}
        assert all(np.array_equal(found[row], wanted[row]) for row in found)


def test_the_runs_of_a_worker_that_is_killed_are_taken_up_again(cluster: Processes, history: History) -> None:
    steps = run_study(SECONDS, history, cluster.address)
    seen: list[Progress] = []
    for step in steps:
        assert isinstance(step, StudyProgress)
        if sum("AdaRound" in cell.phase for cell in step.cells) == 2:
            break
    assert len({cell.worker for cell in step.cells if cell.worker}) == 2
    assert statuses(history) == ["running"] * 2
    before = {run.run_id for run in history.runs()}
    cluster.lose_worker()
    try:
        result = finish(steps, seen.append)
    finally:
        cluster.add_worker()
    assert any("a worker was lost; its run starts again" in str(report) for report in seen)
    assert [cell.status for cell in result.cells] == ["done"] * 3
    assert len({cell.worker for cell in result.cells}) == 1
    (note,) = result.notes
    assert "was lost" in note
    assert statuses(history) == ["done"] * 3
    assert before <= {run.run_id for run in history.runs()}
    assert all(history.predictions(cell.run_id)["fp32"].shape == (16,) for cell in result.cells)


def test_a_cancel_reaches_the_workers_and_the_study_goes_on_later(cluster: Processes, history: History) -> None:
    study = Study.parse(LONG.format(30_000) + "[grid]\nseed = [0, 1]")
    with running(run_study(study, history, cluster.address), 2) as step:
        pass
    assert statuses(history) == ["cancelled"] * 2
    began = time.monotonic()
    assert finish(run_study(SEEDS, history, cluster.address)).failed == 0  # both workers were busy for minutes
    assert time.monotonic() - began < 30
    book = Book.open(step.study_id, history)
    with running(run_study(study, history, cluster.address, book=book), 1) as step:
        assert {cell.run_id for cell in step.cells if cell.status == "running"} <= {r.run_id for r in history.runs()}


def test_what_a_worker_refuses_is_told_in_its_own_words(cluster: Processes, history: History, tmp_path: Path) -> None:
    study = Study.parse(TINY + f"[grid]\nweights = ['{tmp_path.as_posix()}/none.safetensors', '']")
    result = finish(run_study(study, history, cluster.address))
    assert [cell.status for cell in result.cells] == ["failed", "done"]
    assert "none.safetensors" in result.cells[0].error
    assert history.get(result.cells[0].run_id).status == "failed"
    assert history.get(result.cells[0].run_id).error == result.cells[0].error
    again = finish(run_study(study, history, cluster.address, book=Book.open(result.study_id, history)))
    assert again.cells[1].run_id == result.cells[1].run_id  # it was not run again
    assert len(history.runs()) == 3


def test_a_worker_of_another_version_is_refused(
    cluster: Processes, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {**conversation.versions(), "torch": "9.8.7"}
    monkeypatch.setattr(conversation, "versions", lambda: other)
    with pytest.raises(UserError, match=r"worker tcp://\S+ has torch \S+; here it is 9\.8\.7") as stop:
        finish(run_study(ONE, history, cluster.address))
    assert "Install torch 9.8.7" in stop.value.remedy
    assert history.runs() == []

    async def none_yet(_: Any) -> set[str]:
        return set()

    monkeypatch.setattr(conversation, "_check_workers", none_yet)  # as where it comes when the study runs already
    (cell,) = finish(run_study(ONE, history, cluster.address)).cells
    assert cell.status == "failed"
    assert "here it is 9.8.7" in cell.error


def test_a_bug_on_a_worker_ends_the_study(
    cluster: Processes, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qexplorer.engine.jobs.weight_only.WeightOnly.name", "no-such-job")
    with pytest.raises(KeyError, match="no-such-job"):
        finish(run_study(ONE, history, cluster.address))
    assert statuses(history) == ["failed"]


def test_a_scheduler_that_is_not_there_is_named(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "CONNECT_S", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else can
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=f"No Dask scheduler could be reached at {address}"):
            finish(run_study(ONE, history, address))
    assert history.runs() == []


def test_a_study_that_is_closed_while_it_connects_ends_at_once(history: History) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        steps = run_study(ONE, history, f"tcp://127.0.0.1:{silent.getsockname()[1]}")
        until = time.monotonic() + 1
        heard = [next(steps).phase for _ in iter(lambda: time.monotonic() < until, False)]
        assert len(heard) > 8  # nobody who steps it is kept waiting
        assert heard[-1].startswith("Connecting to tcp://")
        began = time.monotonic()
        steps.close()
        assert time.monotonic() - began < 4
    assert history.runs() == []


def test_tls_and_what_is_lost_for_good(
    tls: Tls, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = Processes(tmp_path, tls, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")
    try:
        processes.add_worker()
        assert processes.address.startswith("tls://")
        (cell,) = finish(run_study(ONE, history, processes.address, tls=tls)).cells
        assert cell.status == "done"
        assert cell.worker.startswith("tls://")

        with monkeypatch.context() as patch:
            patch.setattr(conversation, "CONNECT_S", 1.0)
            with pytest.raises(UserError, match="No Dask scheduler could be reached"):
                finish(run_study(ONE, history, processes.address.replace("tls:", "tcp:")))
            with pytest.raises(UserError, match="files for TLS cannot be used"):
                finish(run_study(ONE, history, processes.address, tls=Tls(tls.ca, tls.cert, tls.cert)))

        steps = run_study(MINUTES, history, processes.address, tls=tls)
        with running(steps, 1):
            processes.lose_worker()
            (cell,) = finish(steps).cells
        assert "Every worker that had it was lost, 1 in all" in cell.error
        processes.add_worker()
        steps = run_study(MINUTES, history, processes.address, tls=tls)
        with running(steps, 1):
            processes.scheduler.kill()
            with pytest.raises(
                UserError, match=r"scheduler at tls://\S+ is gone or has let the runs go .scheduler-connection-lost"
            ):
                finish(steps)
        assert statuses(history) == ["done", "failed", "failed"]
    finally:
        processes.close()
