"""A Dask cluster for tests: a real scheduler with real workers, each a process of its own on the loopback."""

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from qexplorer.cluster.address import NO_TLS, Tls


class Processes:
    """A scheduler and its workers, all on this machine; each has a process of its own."""

    def __init__(self, folder: Path, tls: Tls = NO_TLS, **environment: str) -> None:
        self.workers: list[subprocess.Popen[bytes]] = []
        self._spaces: dict[int, Path] = {}
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
        space = self._folder / f"worker-{len(self._spaces)}"
        worker = self._start("worker", self.address, *one, "--local-directory", str(space))
        self._spaces[worker.pid] = space
        self.workers.append(worker)

    def lose_worker(self, which: int = 0) -> None:
        """As where the plug of its machine is pulled."""
        worker = self.workers.pop(which)
        worker.kill()
        worker.wait()

    @property
    def files(self) -> list[Path]:
        """What runs have on the workers that are there."""
        return [path for worker in self.workers for path in self.files_of(worker)]

    def files_of(self, worker: "subprocess.Popen[bytes]") -> list[Path]:
        return list(self._spaces[worker.pid].glob("dask-scratch-space/worker-*/run-*"))

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
