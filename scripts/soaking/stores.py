"""A look at what a killed process has left, and damage done to copies of it, which the program has to survive."""

import json
import random
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from qexplorer.engine.jobs.evaluate import Evaluate
from qexplorer.engine.jobs.record import recorded, resumed
from qexplorer.engine.runs.history import History
from qexplorer.errors import UserError
from qexplorer.inspection.sketch_cache import SketchCache
from qexplorer.log import take_crash
from qexplorer.progress import finish
from qexplorer.state.layout import Layout, LayoutFile
from qexplorer.state.session import load_session
from soaking.files import mutant

STORES = ("session.json", "layout.json", "history.sqlite3", "sketches.sqlite3")
NAMES = ("../../../victim", "..", "/victim", "a/../../victim", "C:\\victim", "", "x" * 5000, "=1+1")


def losses(home: Path, told: list[dict[str, object]]) -> list[str]:
    """What is missing or damaged that had certainly been written."""
    own = home / "qexplorer"
    found: list[str] = []
    if any(each["kind"] == "saved" for each in told):
        try:
            if load_session(own / "session.json") is None:
                found.append("the session is gone")
        except UserError as error:
            found.append(f"the session is damaged: {error}")
    with closing(sqlite3.connect(own / "history.sqlite3")) as database:
        (answer,) = database.execute("PRAGMA integrity_check").fetchone()
    if answer != "ok":
        found.append(f"the history is damaged: {answer}")
    history = History(own / "history.sqlite3")
    history.mark_interrupted()
    runs = {run.run_id: run for run in history.runs()}
    for each in told:
        if each["kind"] != "done":
            continue
        run = runs.get(str(each["run_id"]))
        if run is None or run.status != "done" or run.result_json != each["result"]:
            found.append(f"the finished run {each['run_id']} is not what it was")
        elif not _files_are_there(json.loads(run.result_json or "{}")):
            found.append(f"a file of the finished run {run.run_id} is gone")
    found += [f"the run {run.run_id} is {run.status}" for run in runs.values() if run.status in ("running", "damaged")]
    return found


def _files_are_there(result: dict[str, Any]) -> bool:
    folder = result.get("artifact")
    names = [row["artifact"] for row in result["rows"] if row.get("artifact")]
    return not folder or all((Path(folder) / name).is_file() for name in names)


def faults(home: Path) -> list[str]:
    """The tracebacks in the logs, and the stack of a crash."""
    found: list[str] = []
    logs = home / "qexplorer" / "logs"
    for path in sorted(logs.glob("*.log*")):
        text = path.read_text("utf-8", errors="replace")
        if "Traceback" in text:
            found.append(f"{path.name}: {text[text.index('Traceback') :][:3000]}")
    crash = take_crash(logs)
    if crash is not None:
        found.append(f"a crash: {crash.text[:3000]}")
    return found


def damage(home: Path, rng: random.Random, rounds: int) -> tuple[int, list[str]]:
    """Read mutants of every store, made in place; how many, and what else than a refusal came of it."""
    found: list[str] = []
    done = 0
    for _ in range(rounds):
        original = home / "qexplorer" / rng.choice(STORES)
        if not original.exists():
            continue
        folder = home / "damaged"
        folder.mkdir()
        path = folder / original.name
        shutil.copy(original, path)
        mutant(path, path, rng)
        kept = path.read_bytes()
        try:
            _read(path)
        except UserError:
            pass
        except Exception as error:  # noqa: BLE001  this is what is looked for
            kind = f"{type(error).__name__}: {error}"
            keep = home / f"fault-{done}-{path.name}"
            keep.write_bytes(kept)
            found.append(f"{keep}: {kind}")
        done += 1
        shutil.rmtree(folder)
    return done, found


def _read(path: Path) -> None:
    if path.name == "session.json":
        load_session(path)
    elif path.name == "layout.json":
        LayoutFile(path).write(Layout())
    elif path.name == "sketches.sqlite3":
        identities: list[str] = []
        with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as database:
            identities = [text for (text,) in database.execute("SELECT identity FROM sketches LIMIT 5")]
        for identity in identities:
            SketchCache(path).get(identity)
    else:
        history = History(path)
        history.mark_interrupted()
        for run in history.runs():
            history.predictions(run.run_id)
            history.steps_done()
        history.annotate(history.start("evaluate", {}), "still writable")


def attack_history(home: Path) -> tuple[int, list[str]]:
    """Go on with runs whose stored ids lead elsewhere; how many, and which of them did harm."""
    folder = home / "attacked"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    victim = folder.parent / "victim" / "steps"
    victim.mkdir(parents=True, exist_ok=True)
    (victim / "mine.npz").write_text("mine")
    history, found = History(folder / "data" / "history.sqlite3"), list[str]()
    finish(recorded(Evaluate(model="vit_digits", limit=8, timing="off"), history))
    (run,) = history.runs()
    for name in NAMES:
        with history.open() as database:
            database.execute("UPDATE runs SET run_id = ?, status = 'interrupted'", (name,))
        for act in (lambda name=name: finish(resumed(name, history)), lambda name=name: history.tidy(name)):
            with suppress(UserError):
                act()
        if [path.name for path in victim.iterdir()] != ["mine.npz"]:
            found.append(f"the run id {name!r} of {run.job} reached another folder")
    return 2 * len(NAMES), found
