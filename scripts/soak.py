"""Hours of random use of the window, offscreen, with kills, mutants and attacks; prints what was survived.

The window runs in a process of its own that is killed at random times and started again. After each start its session,
its history and its finished runs have to be whole, and no traceback may stand in its log. Between the starts the stores
are damaged and read in copies. Exits 1 where something was lost, a traceback came, or code in a file ran.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    from launch import require_python

    require_python(sys.version_info)
    from _inside import enter

    enter("", "PySide6", "torch", "qexplorer")

import numpy as np
from soaking.files import ATTACKS, good_files
from soaking.stores import attack_history, damage, faults, losses

START_S = 240.0
LIVES_S = (2.0, 15.0)
CLOSED = 0.2
"""In so many lives the window is closed in order instead of killed."""
STORES_AT_ONCE = 60


@dataclass
class Tally:
    """What was done, and what of it went wrong."""

    mutants: int = 0
    attacks: int = 0
    kills: int = 0
    starts: int = 0
    jobs: int = 0
    lost: list[str] = field(default_factory=list[str])
    faults: list[str] = field(default_factory=list[str])

    def lines(self, seconds: float) -> list[str]:
        """The figures, as they stand in docs/reliability.md."""
        return [
            f"mutants   {self.mutants:,}", f"attacks   {self.attacks:,}", f"kills     {self.kills:,}",
            f"starts    {self.starts:,}", f"jobs      {self.jobs:,}", f"hours     {seconds / 3600:.2f}",
            f"faults    {len(self.faults):,}", f"losses    {len(self.lost):,}",
        ]  # fmt: skip


class Soak:
    """One home folder, used by one process after the other."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home, self.rng, self.tally = home, random.Random(seed), Tally()  # noqa: S311
        self.marker = home / "code-ran"
        good_files(home / "good", np.random.default_rng(seed))
        (home / "attacks").mkdir()
        for attack in ATTACKS:
            attack(home / "attacks", self.marker)
        self.told, self.said = 0, set[str]()

    def run(self, minutes: float) -> float:
        """Go on for so many minutes; returns the seconds that it took."""
        began = time.monotonic()
        done, found = attack_history(self.home)
        self.tally.attacks += done
        self.tally.lost += found
        while time.monotonic() - began < 60 * minutes:
            self.live()
            self.look()
            done, found = damage(self.home, self.rng, STORES_AT_ONCE)
            self.tally.mutants += done
            self.tally.faults += found
            self.say_new()
            print(f"{time.monotonic() - began:6.0f} s  " + "  ".join(self.tally.lines(time.monotonic() - began)),
                  flush=True)  # fmt: skip
        self.live(0.0)  # what the last one has left has to be opened once more
        self.look()
        self.say_new()
        return time.monotonic() - began

    def say_new(self) -> None:
        """Print what went wrong as soon as it is known."""
        wrong = [*self.tally.lost, *self.tally.faults]
        for each in wrong:
            if each not in self.said:
                print(f"--- {each}", flush=True)
        self.said.update(wrong)

    def live(self, seconds: float | None = None) -> None:
        """One process: started, used, and killed or closed."""
        life = self.rng.uniform(*LIVES_S) if seconds is None else seconds
        killed = seconds is None and self.rng.random() >= CLOSED
        lasts = 10_000.0 if killed else life
        command = [sys.executable, "-m", "soaking.use", str(self.rng.randrange(1 << 30)), str(self.home), str(lasts)]
        ready, stderr = self.home / "ready.txt", self.home / "stderr.txt"
        ready.unlink(missing_ok=True)
        with stderr.open("w") as file:
            process = subprocess.Popen(command, stderr=file, cwd=self.home, env=self.environment())
            try:
                self.tally.starts += 1
                self.wait(process, ready, life if killed else None)
            finally:
                process.kill()
                process.wait()
        said = stderr.read_text(errors="replace")
        if "Traceback" in said or process.returncode not in (0, -9):
            self.tally.faults.append(f"exit {process.returncode}: {said[-3000:]}")

    def wait(self, process: "subprocess.Popen[bytes]", ready: Path, life: float | None) -> None:
        """Wait until the window is drawn, and for its life or its end."""
        deadline = time.monotonic() + START_S
        while not ready.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        said = ready.read_text() if ready.exists() else "the window did not start"
        if said:
            self.tally.lost.append(f"at the start: {said}")
        try:
            process.wait(START_S if life is None else life)
        except subprocess.TimeoutExpired:
            if life is None:
                self.tally.faults.append("the window did not close")
            else:
                self.tally.kills += 1

    def look(self) -> None:
        """Count what was told since the last time, and look whether all of it is still there."""
        path = self.home / "told.jsonl"
        text = path.read_text() if path.exists() else ""
        told = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
        for each in told[self.told :]:
            self.tally.mutants += each.get("n", 0) if each["kind"] == "mutants" else 0
            self.tally.attacks += each["kind"] == "attack"
            self.tally.jobs += each["kind"] in ("done", "ended")
        self.told = len(told)
        self.tally.lost += losses(self.home, told)
        self.tally.faults += faults(self.home)
        if self.marker.exists():
            self.tally.lost.append("code in a file was run")
        for name in (self.home / "qexplorer" / "logs").glob("*"):
            name.unlink()

    def environment(self) -> dict[str, str]:
        """The home folder is the person's own, and there is no screen."""
        own = {f"XDG_{kind}_HOME": str(self.home) for kind in ("DATA", "STATE", "CONFIG")}
        path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
        return {**os.environ, **own, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": path, "PYTHONFAULTHANDLER": "1"}


def main() -> int:
    """Soak, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None, help="the same use again, as far as kills allow")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # its process ends with it
    seed = random.SystemRandom().randrange(1 << 30) if args.seed is None else args.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="qexplorer-soak-") as home:
        soak = Soak(Path(home), seed)
        seconds = soak.run(args.minutes)
    print("\n".join(soak.tally.lines(seconds)))
    return 1 if soak.tally.lost or soak.tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
