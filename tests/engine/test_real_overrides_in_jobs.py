"""Jobs that keep some layers in float32, or give them weights as asked for: results, files, the command line."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from overridden import PRESETS, VIT

from qexplorer.cli import main
from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.record import recorded
from qexplorer.engine.models.state_dict import theoretical_bytes
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import RunResult
from qexplorer.progress import finish
from qexplorer.weights import open_checkpoint
from tests.few_digits import few_digits

pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning")  # torch's own

QKV = "blocks.0.attention.qkv"


TEXT = f"head=float; {QKV}=int8 / uint8 affine"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, RunResult]:
    """Both presets beside a simulation: without overrides, and with them."""
    history = History(tmp_path_factory.mktemp("overrides") / "history.sqlite3")
    job = jobs["ptq-static"](**VIT, weight_spec="int8 channel:0", activation_spec="uint8 affine")
    plain = finish(recorded(job, history))
    return plain, finish(recorded(dataclasses.replace(job, overrides=TEXT), history))  # pyright: ignore[reportCallIssue]


def layers_of(result: RunResult, row: str) -> dict[str, dict[str, Any]]:
    return {layer.name: layer for layer in result.layers if layer.row == row}


def test_each_row_has_the_overrides_and_says_so(runs: tuple[RunResult, RunResult]) -> None:
    plain, result = runs
    assert [row.kind for row in result.rows] == ["REAL", "REAL", "REAL", "SIMULATED"]
    for preset in PRESETS:
        layers = layers_of(result, preset)
        assert layers.keys() == layers_of(plain, preset).keys() == layers_of(result, "w8a8").keys()
        assert [name for name, layer in layers.items() if layer.spec == "float"] == ["head"]
        assert (layers["head"].weight_sqnr_db, layers["head"].bits) == (math.inf, 32)
        assert layers[QKV].spec == "int8"
        assert result.spec.presets[preset].layers == {"head": "float", QKV: "int8"}
    twin = layers_of(result, "w8a8")
    assert twin["head"].spec == "float"
    assert twin[QKV].spec == "int8 / uint8 affine"
    assert layers_of(result, "x86")[QKV].weight_sqnr_db == pytest.approx(twin[QKV].weight_sqnr_db)
    for row in result.rows[1:3]:
        assert row.note.startswith("Stayed float32: head. What an int8 layer hands them was rounded to 8 bits.")
    assert "Stayed float32" not in "".join(row.note for row in plain.rows)


def test_sizes_are_those_of_what_is_there(runs: tuple[RunResult, RunResult]) -> None:
    plain, result = runs
    sizes = {p: [r.rows[i].bytes_theoretical for r in runs] for i, p in enumerate(PRESETS, 1)}
    out, k = layers_of(result, "x86")["head"].shape
    channels = layers_of(result, "x86")[QKV].shape[0]
    output = 4 + 1  # the scale and zero point of an output that is no longer quantized
    grown = {name: after - before for name, (before, after) in sizes.items()}
    assert grown["pytorch_default"] == 3 * out * k - 4 - output
    assert grown["x86"] == 3 * out * k - 4 * out - output - 4 * (channels - 1)
    on_disk = [r.rows[1].bytes_on_disk for r in (plain, result)]
    assert on_disk[1] - on_disk[0] == pytest.approx(grown["pytorch_default"], abs=1500)


def test_the_file_holds_float_and_int8_weights_and_is_read_again(runs: tuple[RunResult, RunResult]) -> None:
    row = runs[1].rows[2]
    assert row.artifact is not None
    assert Path(row.artifact).stat().st_size == row.bytes_on_disk
    state = torch.load(row.artifact, weights_only=True)
    assert state["head.weight"].dtype == torch.float32
    packed = {name: value[0] for name, value in state.items() if isinstance(value, tuple)}
    assert packed[f"{QKV}._packed_params._packed_params"].qscheme() == torch.per_tensor_affine
    assert theoretical_bytes(state) == row.bytes_theoretical
    opened = finish(open_checkpoint(Path(row.artifact)))
    assert opened.by_name["head.weight"].dtype == "float32"


def test_parity_compares_the_layers_that_are_int8() -> None:
    job = jobs["parity"](**VIT, compared=8, overrides=TEXT)
    result = finish(job.run())
    names = [layer.name for layer in result.layers]
    assert QKV in names
    assert "head" not in names
    assert len(names) == 17
    assert result.findings.largest_lsb <= 1
    assert "Stayed float32: head." in result.rows[1].note


def test_training_ends_in_int8_with_the_same_layers_kept() -> None:
    qat = {**VIT, "data": few_digits(), "epochs": 1, "weight_spec": "int8 channel:0", "activation_spec": "uint8 affine"}
    result = finish(jobs["qat"](**qat, overrides="head=float").run())
    assert [row.kind for row in result.rows] == ["REAL", "SIMULATED", "REAL"]
    assert "Stayed float32: head." in result.rows[2].note
    kept = {name for name, spec in result.spec.int8.layers.items() if spec == "float"}
    assert kept == {"head"}
    assert not jobs["qat"](**qat, overrides="head=int4").int8_engine()  # there are no kernels for that


def test_the_command_line_takes_them(capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    words = [word for name, value in VIT.items() for word in (f"--{name}", str(value))]
    command = ["run", "ptq-static", *words, "--preset", "pytorch_default", "--overrides", "h*=fp32", "--json"]
    assert main(command) == 0
    document = json.loads(capsys.readouterr().out)
    specs = {layer["name"]: layer["spec"] for layer in document["layers"]}
    assert specs.pop("head") == "float"
    assert set(specs.values()) == {"int8 full_span"}
    assert main([*command[:-2], "head=int3", "--json"]) == 2
    assert "“head” cannot be “int3” in int8 kernels" in capsys.readouterr().err
