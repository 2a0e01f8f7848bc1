"""Starting the program, against a bare window of pyqtgraph: each a process of its own, in turn, in fresh folders."""

import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .figures import Figure, at_most, say
from .workers import run_alone

SCRIPT = Path(__file__).with_name("first_pictures.py")
RUNS, QUICK_RUNS = 7, 3
BARE = "a bare pyqtgraph window with one curve"
WORKS = {
    "start-window": ("window", "process started -> window painted", 1.25),
    "start-sample": ("sample", "process started -> sample model explored and painted", 2.0),
}


def measure(names: Sequence[str], quick: bool) -> Iterator[Figure]:
    """The figures of these names."""
    runs = QUICK_RUNS if quick else RUNS
    times: dict[str, list[float]] = {"bare": [], "window": [], "sample": []}
    say("starting windows")
    for i in range(runs + 1):
        bare, program = _started("bare"), _started("qexplorer")
        if i:
            times["bare"].append(bare["window"])
            for name in ("window", "sample"):
                times[name].append(program[name])
    medians = {name: statistics.median(each) for name, each in times.items()}
    for name in names:
        key, work, most = WORKS[name]
        yield Figure(
            name=name,
            work=work,
            ours_s=medians[key],
            peer=BARE,
            peer_s=medians["bare"],
            limit=BARE,
            limit_s=medians["bare"],
            runs=runs,
            bars=(at_most(f"<= {most:g}x a bare window", medians[key], most * medians["bare"]),),
            note=f"slowest {max(times[key]):.3f} s, of the bare window {max(times['bare']):.3f} s",
            more={"seconds": times},
        )


def _started(what: str) -> dict[str, float]:
    """Seconds until the pictures, from just before the process is made."""
    return json.loads(run_alone([sys.executable, str(SCRIPT), what, repr(time.time())]).splitlines()[-1])
