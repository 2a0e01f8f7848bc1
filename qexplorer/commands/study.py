"""`qexplorer study`: a grid of runs, here or on a Dask cluster."""

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qexplorer.commands import say, say_json, say_table, warn
from qexplorer.commands.foreground import PATIENCE_S, work
from qexplorer.errors import UserError
from qexplorer.folders import log_folder
from qexplorer.log import logged

if TYPE_CHECKING:
    from qexplorer.engine.studies.status import RunStatus, StudyResult

EXAMPLES = """examples:
  qexplorer study four_bits.toml
  qexplorer study four_bits.toml --json --resume 20261121-101500-study-ab12cd
  qexplorer study four_bits.toml --on tcp://127.0.0.1:8786
  qexplorer study four_bits.toml --on tls://cluster:8786 --tls-ca ca.pem --tls-cert own.pem --tls-key own.key

four_bits.toml:
  title = "Four bits"
  job = "weight-only"               # the job of every run; or a list of jobs
  [settings]                        # what all runs share: any field of the job (`qexplorer run JOB --help`)
  data = "digits"
  limit = 100
  [grid]                            # lists of values for any field of the job; every combination is a run
  model = ["mobilenet_v2_digits", "vit_digits"]
  weight_spec = ["int8 channel", "int4 channel mse"]
  repairs = ["fold", "fold,mse_clip,gptq"]
  seed = [0, 1]

Every run is in the run history (`qexplorer runs`). A run that fails does not stop the others; the exit code is then 2.
--resume continues a study with the same file: finished runs are not repeated, the others go on.

on a cluster (pip install "qexplorer[cluster]"):
  on one machine, with the files that an authority of your own has signed for it:
    dask scheduler --host tls://10.0.0.7 --tls-ca-file ca.pem --tls-cert own.pem --tls-key own.key
  on every machine that takes part, once per process:
    dask worker tls://10.0.0.7:8786 --nthreads 1 --tls-ca-file ca.pem --tls-cert own.pem --tls-key own.key
  on this machine alone, without any files:
    dask scheduler --host 127.0.0.1
    dask worker tcp://127.0.0.1:8786 --nthreads 1
What a scheduler exposes, and to whom: anyone who can reach it can run any program on it and on its workers, read what
they read, and send wrong results back; with tls:// that is who has a certificate of your authority, with tcp:// it is
everyone in the network. Without --host it listens on every interface of its machine, and so does its dashboard
(--no-dashboard). What comes from it to this machine is data, never code. tcp:// to another machine is refused unless
you write --insecure: do so only in a network that you trust.
Each worker needs the same versions of qexplorer and torch as this machine. Your own files (models, weights, data) must
be on every worker under the same path, and code among them must be trusted there. The models that a run makes are
copied back to the run history, up to 4 GB each, and so is every finished step: if a worker is lost, another continues
from there.
Dask does not count the runs as tasks of its own: a cluster that scales itself down takes their workers for idle.
Runs that share a machine slow each other down: measure latencies with one worker a machine, or write timing = "off"."""


CLUSTER_PATIENCE_S = 30.0
"""So long after Ctrl-C a cluster is given to stop its workers: no model's code runs in this process then."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("study", metavar="STUDY.toml", help="what to run; the format is shown below")
    place = "here, or on the Dask scheduler at tcp://HOST:PORT or tls://HOST:PORT; default local"
    parser.add_argument("--on", default="local", metavar="local|ADDRESS", help=place)
    parser.add_argument("--resume", default="", metavar="STUDY_ID", help="continue a study that was started earlier")
    parser.add_argument("--tls-ca", default="", metavar="FILE", help="for tls://: the authority's certificate, PEM")
    parser.add_argument("--tls-cert", default="", metavar="FILE", help="for tls://: your certificate, PEM")
    parser.add_argument("--tls-key", default="", metavar="FILE", help="for tls://: its key, PEM")
    told = "connect to a tcp:// scheduler of another machine: nothing is encrypted, and nobody proves who they are"
    parser.add_argument("--insecure", action="store_true", help=told)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> None:
    """Run the study; every run gets an entry in the run history."""
    from qexplorer.cluster.address import LOCAL, Tls, parse_address
    from qexplorer.cluster.run_study import run_study
    from qexplorer.engine.jobs.record import let_go
    from qexplorer.engine.runs.history import History
    from qexplorer.engine.studies.manifest import Manifest
    from qexplorer.engine.studies.study import Study

    tls = Tls(args.tls_ca, args.tls_cert, args.tls_key)
    try:
        parse_address(args.on, tls, insecure=args.insecure)
    except UserError as error:
        if error.field.startswith("tls_"):
            remedy = f"{error.remedy.removesuffix('.')}: --{error.field.replace('_', '-')} FILE."
            raise UserError(error.what, remedy, field=error.field) from error
        raise
    study, history = Study.read(Path(args.study)), History()
    manifest = Manifest.open(args.resume, history) if args.resume else Manifest.new(study, history)
    again = f"qexplorer study {shlex.quote(args.study)} --resume {manifest.study_id}"
    before = dict(manifest.run_ids)

    def leave(thread: int) -> None:
        let_go(thread, interrupted=True)
        warn(f"qexplorer: finished runs are kept; resume with: {again}")

    steps = run_study(study, history, args.on, tls=tls, insecure=args.insecure, manifest=manifest)
    try:
        with logged(log_folder()):
            result = work(steps, leave=leave, patience_s=PATIENCE_S if args.on == LOCAL else CLUSTER_PATIENCE_S)
    except UserError as error:
        if manifest.run_ids == before:
            raise
        raise UserError(error.what, f"{error.remedy} Resume with: {again}".lstrip(), field=error.field) from error
    except BaseException:
        if manifest.run_ids != before:
            print(f"qexplorer: finished runs are kept; resume with: {again}", file=sys.stderr)
        raise
    if args.json:
        say_json(_document(result))
    else:
        _say(result)
    if result.failed:
        raise UserError(f"{result.failed} of {len(result.runs)} runs failed.", f"Try them again with: {again}")


def _document(result: "StudyResult") -> dict[str, Any]:
    """What `--json` prints."""
    names = ("number", "job", "settings", "run_id", "status", "error", "seconds", "worker")
    cells = [
        {name: getattr(run, name) for name in names} | {"rows": [dataclasses.asdict(row) for row in run.rows]}
        for run in result.runs
    ]
    return {"study_id": result.study_id, "title": result.title, "notes": list(result.notes), "cells": cells}


def _say(result: "StudyResult") -> None:
    """The table of a study: a line for each model that a run made, or for the float model where it made none."""
    names = list(dict.fromkeys(name for run in result.runs for name in run.settings))
    lines = [line for run in result.runs for line in _lines(run, names)]
    titles = ("", *names, "run", "top-1 [95 %]", "on disk", "theoretical", "seconds", "status")
    say_table(titles, lines, right=(0, *range(len(names) + 3, len(titles) - 1)))
    say(f"study {result.study_id}, “{result.title}”: {len(result.runs)} run(s), {result.failed} failed")
    for note in result.notes:
        say(note)
    for run in result.runs:
        if run.error:
            say(f"{run.number}: {run.error}")


def _lines(run: "RunStatus", names: list[str]) -> list[tuple[str, ...]]:
    own = (str(run.number), *(str(run.settings.get(name, "")) for name in names))
    if not run.rows:
        return [(*own, "", "", "", "", "", run.status)]
    lines: list[tuple[str, ...]] = []
    for row in run.rows[1:] or run.rows:
        low, high = row.top1_ci95
        lines.append(
            (*own, row.name, f"{row.top1:.2%} [{low:.2%}, {high:.2%}]", f"{row.bytes_on_disk / 1e6:.2f} MB",
             f"{row.bytes_theoretical / 1e6:.2f} MB", f"{run.seconds:.1f}", run.status)
        )  # fmt: skip
    return lines
