"""What is said beside figures: blocks that rows cannot be cut into, and float64 that was rounded."""

import json
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants
from gguf.quants import QuantError
from safetensors.numpy import save_file

from qexplorer.cli import main
from qexplorer.quant import QuantSpec
from qexplorer.quant.formats import formats
from qexplorer.quant.remarks import ROUNDED, remarks

GGUF = [form.name for form in formats if form.family.startswith("GGUF")]


@pytest.mark.parametrize("name", GGUF)
@pytest.mark.parametrize("shape", [(3, 40), (4, 896), (2, 256), (2, 512), (5, 1), (2, 3, 64), (2, 64, 3)], ids=str)
def test_rows_that_gguf_refuses_are_said(name, shape):
    try:
        quants.quantize(np.ones(shape, np.float32), GGMLQuantizationType[name.upper()])
        refused = False
    except QuantError:
        refused = True
    assert bool(remarks(QuantSpec(formats[name]), shape)) == refused


@pytest.mark.parametrize(
    ("name", "row", "instead"), [("tq2_0", 896, "Q4_0"), ("tq1_0", 40, "F16"), ("q8_0", 40, "F16")]
)
def test_the_type_is_named_that_llama_cpp_falls_back_to(name, row, instead):
    """As `llama_tensor_get_type` in llama.cpp's `llama-quant.cpp` has it."""
    (said,) = remarks(QuantSpec(formats[name]), (4, row))
    assert f"llama.cpp falls back to {instead}" in said
    assert f"{row} values" in said


def test_short_blocks_of_hardware_formats_are_said():
    assert "blocks of 32" in remarks(QuantSpec(formats["mxfp4"]), (100, 40))[0]
    assert "blocks of 16" in remarks(QuantSpec(formats["nvfp4"]), (100, 40))[0]
    assert remarks(QuantSpec(formats["mxfp4"]), (100, 4, 4, 4)) == ()


def test_the_command_says_it_with_the_figures(tmp_path: Path, capsys):
    rng = np.random.default_rng(0)
    save_file({"a.weight": rng.normal(size=(8, 40)), "b.weight": rng.normal(size=(8, 64)).astype(np.float32)},
              tmp_path / "m.safetensors")  # fmt: skip
    arguments = ["analyze", str(tmp_path / "m.safetensors"), "--all", "--format", "q4_0"]
    assert main([*arguments, "--json"]) == 0
    said = {each["name"]: each["remarks"] for each in json.loads(capsys.readouterr().out)["tensors"]}
    assert said["b.weight"] == []
    assert said["a.weight"][1] == ROUNDED
    assert "no GGUF file holds them as Q4_0" in said["a.weight"][0]
    assert main(arguments) == 0
    assert f"a.weight: {ROUNDED}" in capsys.readouterr().out
