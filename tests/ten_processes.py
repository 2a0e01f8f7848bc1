"""Ten processes that write and read every store of one person at once; prints what each has counted as JSON.

`python -m tests.ten_processes FOLDER SECONDS`, with the data folder of the person in the environment.
"""

import json
import multiprocessing
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qexplorer.engine.models.trust import forget, require_trust, trust
from qexplorer.engine.runs.history import History
from qexplorer.inspection.sketch_cache import SketchCache
from qexplorer.progress import finish
from qexplorer.quant.sketch import Sketch, sketch
from qexplorer.quant.tensor_source import Values
from qexplorer.state.app_state import AppState
from qexplorer.state.layout import Layout, LayoutFile
from qexplorer.state.session import load_session, save_session

PROCESSES = 10


def states() -> list[AppState]:
    """What the sessions may hold, each of another length."""
    return [replace(AppState(), path="x" * 1000 * i, tensor=str(i)) for i in range(PROCESSES)]


def layouts() -> list[Layout]:
    return [Layout({"A" * 400 * i: (i, i, i, i)}, "B" * 4 * i, recent=[str(i)] * i) for i in range(PROCESSES)]


def sketches() -> list[Sketch]:
    random = np.random.default_rng(0)
    return [finish(sketch(Values.of(random.normal(size=1000 + i).astype(np.float32)))) for i in range(PROCESSES)]


def use(folder: Path, number: int, seconds: float, counts: "multiprocessing.Queue[dict[str, int]]") -> None:
    """Write and read them all again and again."""
    count: Counter[str] = Counter()
    own = folder / f"model_{number}.py"
    own.write_text(f"x = {number}", encoding="utf-8")
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            use_once(folder, number, own, count)
    except Exception as error:  # noqa: BLE001  whatever it is, it is counted
        count[f"failed: {error!r}"] += 1
    counts.put(dict(count))


def use_once(folder: Path, number: int, own: Path, count: Counter[str]) -> None:
    state, layout, known = states(), layouts(), SKETCHES
    save_session(folder / "session.json", state[number])
    count["damaged sessions"] += load_session(folder / "session.json") not in state
    kept = LayoutFile(folder / "layout.json")
    kept.write(layout[number])
    count["damaged layouts"] += kept.read() not in layout or bool(kept.damage)
    trust(own)
    require_trust(own)  # raises where another process has lost it
    if count["rounds"] % 5 == 4:
        forget(own)
    cache = SketchCache(folder / "sketches.sqlite3")
    cache.put(str(number), known[number])
    for i in (number, (number + 1) % PROCESSES):
        count["lost sketches"] += i == number and cache.get(str(i)) is None
        count["damaged sketches"] += not same(cache.get(str(i)) or known[i], known[i])
    history = History(folder / "history.sqlite3")
    run_id = history.start("evaluate", {"number": number})
    history.journal(run_id).put_arrays("step", {"x": np.full(100, number)})
    arrays = history.journal(run_id).arrays("step")
    count["damaged steps"] += arrays is None or not (arrays["x"] == number).all()
    history.finish(run_id, "{}")
    count["damaged runs"] += history.get(run_id).status != "done"
    count["rounds"] += 1


def same(one: Sketch, other: Sketch) -> bool:
    ours, theirs = one.arrays(), other.arrays()
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


SKETCHES = sketches()


def main(folder: Path, seconds: float) -> dict[str, Any]:
    """What all have counted together."""
    counts: multiprocessing.Queue[dict[str, int]] = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=use, args=(folder, i, seconds, counts)) for i in range(PROCESSES)]
    for process in processes:
        process.start()
    found: Counter[str] = Counter()
    for _ in processes:
        found.update(counts.get())
    for process in processes:
        process.join()
    left = [path.name for path in folder.rglob("*") if path.suffix in (".part", ".damaged") or "damaged" in path.name]
    return {**found, "left": left}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), float(sys.argv[2]))))
