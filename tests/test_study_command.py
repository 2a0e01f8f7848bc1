"""`qexplorer study`, run as a person runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qexplorer.cli import main
from tests.tiny_study import TINY


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """That of a person whose folders are the test's."""
    return {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data")}


def qexplorer(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qexplorer", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_a_study_prints_one_document_and_its_runs_are_in_the_history(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(TINY + '[grid]\nweight_spec = ["int8 channel:0", "nf4 group:32"]\nseed = [1]', encoding="utf-8")
    done = qexplorer(environment, "study", str(file), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert document["title"] == "Tiny"
    assert [cell["settings"] for cell in document["cells"]] == [
        {"weight_spec": "int8 channel:0", "seed": 1},
        {"weight_spec": "nf4 group:32", "seed": 1},
    ]
    for cell in document["cells"]:
        assert (cell["status"], cell["error"]) == ("done", "")
        assert [row["name"] for row in cell["rows"]] == ["fp32", "w4a32" if "nf4" in str(cell) else "w8a32"]
        assert cell["rows"][1]["top1_ci95"][0] <= cell["rows"][1]["top1"] <= cell["rows"][1]["top1_ci95"][1]
    listed = json.loads(qexplorer(environment, "runs", "--json").stdout)["runs"]
    assert [run["run_id"] for run in reversed(listed)] == [cell["run_id"] for cell in document["cells"]]

    again = qexplorer(environment, "study", str(file), "--resume", document["study_id"])
    assert again.returncode == 0, again.stderr
    head, first, second, end = again.stdout.splitlines()
    assert head.split()[:3] == ["weight_spec", "seed", "run"]
    assert "int8 channel:0" in first
    assert "w4a32" in second
    assert document["study_id"] in end
    assert len(json.loads(qexplorer(environment, "runs", "--json").stdout)["runs"]) == 2


def test_a_failed_run_is_told_after_the_table_and_is_exit_code_2(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "misfit.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    file = tmp_path / "tiny.toml"
    file.write_text(TINY + "[grid]\nweights = ['', 'misfit.safetensors']", encoding="utf-8")
    command = [sys.executable, "-m", "qexplorer", "study", "tiny.toml"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "1 of 2 runs failed" in done.stderr
    assert "study tiny.toml --resume " in done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].endswith("done")
    assert lines[2].endswith("failed")
    assert "1 failed" in lines[3]
    assert lines[4].startswith("2: misfit.safetensors")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(tmp_path: Path, environment: dict[str, str]) -> None:
    file = tmp_path / "long.toml"
    file.write_text(TINY + '[grid]\nrepairs = ["fold", "fold,adaround:100000"]', encoding="utf-8")
    command = [sys.executable, "-m", "qexplorer", "study", str(file), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    deadline, runs = time.monotonic() + 60, tmp_path / "data" / "qexplorer" / "studies"
    while time.monotonic() < deadline and not any(
        len(json.loads(p.read_text())["runs"]) == 2 for p in runs.glob("*.json")
    ):
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    (study,) = runs.glob("*.json")
    assert f"--resume {study.stem}\n" in err
    listed = json.loads(qexplorer(environment, "runs", "--json").stdout)["runs"]
    assert [run["status"] for run in listed] == ["cancelled", "done"]


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (None, [], "study.toml cannot be read"),
        ("job = 'evalute'", [], "“evalute”"),
        ("job = 'evaluate'\n[grid]\nmodel = ['vit_digit']", [], "vit_digit"),
        (TINY, ["--on", "the-cluster"], "“the-cluster”"),
        (TINY, ["--on", "tls://127.0.0.1:8786"], "tls:// needs a CA file. Give a PEM file: --tls-ca FILE."),
        (TINY, ["--on", "tcp://192.0.2.1:8786"], "write tls://192.0.2.1:8786: `qexplorer study --help` shows how"),
        (TINY, ["--tls-key", "own.key"], "--on tls://"),
        (TINY, ["--resume", "20200101-000000-study-abcdef"], "no study “20200101-000000-study-abcdef”"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_exit_code_2(
    text: str | None, words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    assert main(["study", str(tmp_path / "study.toml"), *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err


def test_the_help_says_what_a_scheduler_exposes_and_how_to_keep_it_closed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["study", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "dask scheduler --host tls://" in said
    assert "dask scheduler --host 127.0.0.1" in said
    assert "anyone who can reach it can run any program on it and on its workers" in said
    assert "--insecure" in said


def test_the_file_in_the_help_is_one_that_is_understood() -> None:
    from qexplorer.commands.study import EXAMPLES
    from qexplorer.engine.studies.study import Study

    block = EXAMPLES.partition("four_bits.toml:\n")[2].partition("\n\n")[0]
    study = Study.parse(block)
    assert (study.title, len(study.runs)) == ("Four bits", 16)
