"""Studies on a real scheduler with real workers, each a process of its own on the loopback."""

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, Variable
from distributed.protocol.serialize import Serialize

from qexplorer.cluster import artifact, client, exchange
from qexplorer.cluster.address import Tls
from qexplorer.cluster.run_study import run_study
from qexplorer.cluster.writer import WorkerBug
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.run_journal import RunJournal
from qexplorer.engine.studies.manifest import Manifest
from qexplorer.engine.studies.status import StudyProgress, StudyResult
from qexplorer.engine.studies.study import Study
from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps, finish
from tests.certificates import make_pems
from tests.cluster.one_run import check_files, equal_states, has_steps, layers
from tests.dask_processes import Processes
from tests.tiny_study import TINY

pytestmark = pytest.mark.timeout(120)
ONE = Study.parse(TINY)
SEEDS = Study.parse(TINY + "[grid]\nseed = [0, 1, 2]")
LONG = TINY + 'repairs = "fold,adaround:{}"\n'
"""AdaRound takes as long as it is given steps."""
SECONDS = Study.parse(LONG.format(100) + "[grid]\nseed = [0, 1, 2]")
MINUTES = Study.parse(LONG.format(30_000))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """A scheduler and two workers."""
    processes = Processes(tmp_path_factory.mktemp("cluster"))
    try:
        processes.add_worker()
        processes.add_worker()
        with Client(processes.address) as dask:
            dask.wait_for_workers(2, timeout=60)
        yield processes
    finally:
        processes.close()
    assert processes.scheduler.returncode is not None


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return make_pems(tmp_path_factory.mktemp("tls"), "own")


@contextmanager
def running(steps: Steps[StudyResult], n: int) -> Iterator[StudyProgress]:
    """Inside, at least `n` runs are in the middle of AdaRound. At the end they are cancelled if they still run."""
    try:
        for step in steps:
            assert isinstance(step, StudyProgress)
            if sum("AdaRound" in run.phase for run in step.runs) >= n:
                yield step
                return
        raise AssertionError("the study ended before")
    finally:
        steps.close()


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """How often each step of each run was entered in a run history of this process."""
    counts: Counter[tuple[str, str]] = Counter()

    class Counted(RunJournal):
        def __init__(self, history: History, run_id: str) -> None:
            super().__init__(history, run_id)
            self.run_id = run_id

        def put(self, key: str, value: Any) -> None:
            counts[self.run_id, key] += not key.endswith("/notes")  # which come before their layer
            super().put(key, value)

    def journal(history: History, run_id: str) -> Counted:
        return Counted(history, run_id)

    monkeypatch.setattr(History, "journal", journal)
    return counts


def statuses(history: History) -> list[str]:
    return sorted(run.status for run in history.runs())


def test_the_results_of_workers_are_those_of_this_process(cluster: Processes, history: History, tmp_path: Path) -> None:
    here = History(tmp_path / "here" / "history.sqlite3")
    there, expected = finish(run_study(SEEDS, history, cluster.address)), finish(run_study(SEEDS, here))
    assert [run.status for run in there.runs] == ["done"] * 3
    assert there.notes == ()
    for run, own in zip(there.runs, expected.runs, strict=True):
        assert [(r.name, r.top1, r.flips, r.bytes_theoretical) for r in run.rows] == [
            (r.name, r.top1, r.flips, r.bytes_theoretical) for r in own.rows
        ]
        entry = history.get(run.run_id)
        assert (entry.status, entry.job) == ("done", "weight-only")
        assert json.loads(entry.config_json) == json.loads(here.get(own.run_id).config_json)
        result = json.loads(entry.result_json or "")
        assert (result["run_id"], result["seed"]) == (run.run_id, run.settings["seed"])
        assert result["spec"]["worker"]["address"].startswith("tcp://127.0.0.1:")
        assert run.worker.startswith(result["spec"]["worker"]["address"])
        found, wanted = history.predictions(run.run_id), here.predictions(own.run_id)
        assert found.keys() == wanted.keys() == {"fp32", "w8a32"}
        assert all(np.array_equal(found[row], wanted[row]) for row in found)
        check_files(history, run.run_id, result)
        assert equal_states(run.rows[1].artifact, own.rows[1].artifact)
        assert history.journal(run.run_id).keys("layer/") == []
    assert cluster.files == []


def test_the_runs_of_a_worker_that_is_killed_go_on_elsewhere(
    cluster: Processes, history: History, entered: Counter[tuple[str, str]]
) -> None:
    steps = run_study(SECONDS, history, cluster.address)
    seen: list[Progress] = []
    step = next(step for step in steps if has_steps(history, 2))
    assert isinstance(step, StudyProgress)
    assert len({run.worker for run in step.runs if run.worker}) == 2
    assert statuses(history) == ["running"] * 2
    before = {entry.run_id for entry in history.runs()}
    cluster.lose_worker()
    try:
        result = finish(steps, seen.append)
    finally:
        cluster.add_worker()
    assert any("a worker was lost; its run continues on another one" in str(report) for report in seen)
    assert max(entered.values()) == 1  # no step was done again
    assert {run_id for run_id, key in entered if key.startswith("layer/")} == {run.run_id for run in result.runs}
    assert [run.status for run in result.runs] == ["done"] * 3
    assert len({run.worker for run in result.runs}) == 1
    (note,) = result.notes
    assert "was lost" in note
    assert statuses(history) == ["done"] * 3
    assert before <= {entry.run_id for entry in history.runs()}
    assert all(history.predictions(run.run_id)["fp32"].shape == (16,) for run in result.runs)


def test_a_run_that_was_cancelled_on_a_cluster_goes_on_there_and_here(
    cluster: Processes, history: History, tmp_path: Path, entered: Counter[tuple[str, str]]
) -> None:
    study = Study.parse(LONG.format(100))
    steps = run_study(study, history, cluster.address)
    step = next(step for step in steps if has_steps(history, 1))
    assert isinstance(step, StudyProgress)
    for on in (cluster.address, "local"):
        steps.close()
        (entry,) = history.runs()
        assert entry.status == "cancelled"
        assert [path.name for path in history.folder(entry.run_id).iterdir()] == ["steps"]
        n, manifest = len(layers(history, entry.run_id)), Manifest.open(step.study_id, history)
        steps = run_study(study, history, on, manifest=manifest)
        if on != "local":
            next(_ for _ in steps if len(layers(history, entry.run_id)) > n)
    (run,) = finish(steps).runs
    assert run.run_id == entry.run_id
    assert max(entered.values()) == 1
    whole = finish(run_study(study, History(tmp_path / "whole" / "history.sqlite3"))).runs[0]
    assert equal_states(run.rows[1].artifact, whole.rows[1].artifact)


@pytest.mark.parametrize("end", ["cancelled", "killed"])
def test_a_model_whose_transfer_is_cut_off_leaves_no_half_file(
    end: str, cluster: Processes, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "CHUNK", 2000)
    steps = run_study(ONE, history, cluster.address)
    phases = (run.phase for step in steps if isinstance(step, StudyProgress) for run in step.runs)
    next(phase for phase in phases if phase.startswith("Fetching w8a32: "))
    (entry,) = history.runs()
    folder = history.folder(entry.run_id)
    assert [path.name for path in folder.iterdir()] == ["incoming"]
    if end == "cancelled":
        steps.close()
        assert not folder.exists()
        assert statuses(history) == ["cancelled"]
    else:
        monkeypatch.undo()
        busy = next(i for i, worker in enumerate(cluster.workers) if cluster.files_of(worker))
        cluster.lose_worker(busy)
        try:
            (run,) = finish(steps).runs
        finally:
            cluster.add_worker()
        assert run.status == "done"
        check_files(history, entry.run_id, json.loads(history.get(entry.run_id).result_json or ""))
    until = time.monotonic() + 10
    while cluster.files and time.monotonic() < until:
        time.sleep(0.05)
    assert cluster.files == []


def test_a_model_that_is_too_large_stays_and_the_study_says_so(
    cluster: Processes, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(artifact.MOST_BYTES, artifact.MODEL, 1000)
    result = finish(run_study(ONE, history, cluster.address))
    (run,) = result.runs
    assert run.status == "done"
    assert [row.artifact for row in run.rows] == [None, None]
    assert json.loads(history.get(run.run_id).result_json or "")["artifact"] is None
    assert not history.folder(run.run_id).exists()
    (note,) = result.notes
    assert {"w8a32", run.run_id} <= set(note.split())


def test_a_cancel_reaches_the_workers_and_the_study_goes_on_later(cluster: Processes, history: History) -> None:
    study = Study.parse(LONG.format(30_000) + "[grid]\nseed = [0, 1]")
    with running(run_study(study, history, cluster.address), 2) as step:
        pass
    assert statuses(history) == ["cancelled"] * 2
    began = time.monotonic()
    assert finish(run_study(SEEDS, history, cluster.address)).failed == 0  # both workers were busy for minutes
    assert time.monotonic() - began < 30
    manifest = Manifest.open(step.study_id, history)
    with running(run_study(study, history, cluster.address, manifest=manifest), 1) as step:
        entries = {entry.run_id for entry in history.runs()}
        assert {run.run_id for run in step.runs if run.status == "running"} <= entries


def test_what_a_worker_refuses_is_told_in_its_own_words(cluster: Processes, history: History, tmp_path: Path) -> None:
    study = Study.parse(TINY + f"[grid]\nweights = ['{tmp_path.as_posix()}/none.safetensors', '']")
    result = finish(run_study(study, history, cluster.address))
    assert [run.status for run in result.runs] == ["failed", "done"]
    assert "none.safetensors" in result.runs[0].error
    assert history.get(result.runs[0].run_id).status == "failed"
    assert history.get(result.runs[0].run_id).error == result.runs[0].error
    again = finish(run_study(study, history, cluster.address, manifest=Manifest.open(result.study_id, history)))
    assert [run.run_id for run in again.runs] == [run.run_id for run in result.runs]
    assert len(history.runs()) == 2


def test_a_worker_of_another_version_is_refused(
    cluster: Processes, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {**client.versions(), "torch": "9.8.7"}
    monkeypatch.setattr(client, "versions", lambda: other)
    with pytest.raises(UserError, match=r"tcp://\S+ has torch \S+; 9\.8\.7") as stop:
        finish(run_study(ONE, history, cluster.address))
    assert stop.value.field == "on"
    assert "torch 9.8.7" in stop.value.remedy
    assert history.runs() == []


def test_a_bug_on_a_worker_ends_the_study(
    cluster: Processes, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qexplorer.engine.jobs.weight_only.WeightOnly.name", "no-such-job")
    with pytest.raises(WorkerBug, match="no-such-job"):
        finish(run_study(ONE, history, cluster.address))
    assert statuses(history) == ["failed"]


def test_a_scheduler_that_is_not_there_is_named(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_S", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else can
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=address) as stop:
            finish(run_study(ONE, history, address))
        assert stop.value.field == "on"
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
    processes = Processes(tmp_path, tls)
    try:
        processes.add_worker()
        assert processes.address.startswith("tls://")
        (run,) = finish(run_study(ONE, history, processes.address, tls=tls)).runs
        assert run.status == "done"
        assert run.worker.startswith("tls://")

        with monkeypatch.context() as patch:
            patch.setattr(client, "CONNECT_S", 1.0)
            with pytest.raises(UserError) as stop:
                finish(run_study(ONE, history, processes.address.replace("tls:", "tcp:")))
            assert stop.value.field == "on"
            with pytest.raises(UserError) as stop:
                finish(run_study(ONE, history, processes.address, tls=Tls(tls.ca, tls.cert, tls.cert)))
            assert stop.value.field == "tls_key"

        monkeypatch.setattr(client, "ALLOWED_LOSSES", 0)
        steps = run_study(MINUTES, history, processes.address, tls=tls)
        with running(steps, 1):
            processes.lose_worker()
            (run,) = finish(steps).runs
        assert "lost, 1 in all" in run.error
        processes.add_worker()
        steps = run_study(MINUTES, history, processes.address, tls=tls)
        with running(steps, 1):
            processes.scheduler.kill()
            with pytest.raises(UserError, match=r"tls://\S+ is gone") as stop:
                finish(steps)
            assert stop.value.field == "on"
        assert statuses(history) == ["done", "failed", "failed"]
    finally:
        processes.close()


def attack(folder: Path) -> tuple[Callable[..., Any], ...]:
    """Makes what leaves a file, called by their process id, with whoever unpickles it; and what has the scheduler and
    a worker answer with it beside what is right, each in its own process.
    """
    code = f"__import__('pathlib').Path({str(folder)!r}, str(__import__('os').getpid())).touch()"

    def make() -> Any:
        class Bomb:
            def __reduce__(self) -> Any:
                return eval, (code,)

        return Bomb()

    def arm(dask_scheduler: Any) -> None:
        ncores, broadcast = dask_scheduler.handlers["ncores"], dask_scheduler.handlers["broadcast"]

        def bad_ncores(**how: Any) -> Any:
            return {**ncores(**how), "bomb": make(), "packed": Serialize(make())}

        async def bad_broadcast(**how: Any) -> Any:
            return {"bomb": make(), **await broadcast(**how), "packed": Serialize(make())}

        dask_scheduler.disarm = lambda: dask_scheduler.handlers.update(ncores=ncores, broadcast=broadcast)
        dask_scheduler.handlers.update(ncores=bad_ncores, broadcast=bad_broadcast)

    def arm_worker(dask_worker: Any) -> None:
        answer = dask_worker.handlers["qexplorer"]

        async def bad_answer(**how: Any) -> Any:
            return {**await answer(**how), "more": Serialize(make())}

        dask_worker.disarm = lambda: dask_worker.handlers.update(qexplorer=answer)
        dask_worker.handlers["qexplorer"] = bad_answer

    return make, arm, arm_worker


def test_nothing_that_others_send_is_ever_unpickled_here(cluster: Processes, history: History, tmp_path: Path) -> None:
    make, arm, arm_worker = attack(tmp_path)
    with Client(cluster.address) as attacker:
        finish(run_study(ONE, history, cluster.address))  # so that the workers have the operation
        attacker.run(arm_worker)
        attacker.run_on_scheduler(arm)
        for i, _ in enumerate(run_study(SEEDS, history, cluster.address)):
            if i < 20:
                attacker.log_event(["all", "qexplorer"], Serialize(make()))
                attacker.set_metadata("qexplorer", make())
            if i == 10:
                Variable("qexplorer", client=attacker).set(1)
                attacker.submit(make)
        attacker.run_on_scheduler(lambda dask_scheduler: dask_scheduler.disarm())
        attacker.run(lambda dask_worker: dask_worker.disarm())
    assert [run.status for run in history.runs()] == ["done"] * 4
    assert (tmp_path / str(cluster.scheduler.pid)).exists()
    assert not (tmp_path / str(os.getpid())).exists()
