"""What a channel and a group are, judged by torch: its own per-channel quantization along the axis that torch names,
and its reshape, by which GPTQ, torchao and compressed-tensors make groups.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from qexplorer.cli import main
from qexplorer.engine.fake_quant import FakeQuantize
from qexplorer.engine.simulation.layers import kind_of
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.quant.layer_kinds import CONV1D, EXPERTS, LINEAR, TRANSPOSED, LayerKind
from qexplorer.quant.quantize import quantize
from qexplorer.quant.tensor_source import Values

JUDGE = "torch's axes and reshape"
MOST = 7


def by_groups(weight: Tensor, size: int) -> Tensor:
    """Symmetric int4 of `weight` [O, …] as torchao has it: w.reshape(O, −1, size), one scale each; short ones last."""
    rows = weight.reshape(len(weight), -1)
    parts = [part_of(rows[:, i : i + size]) for i in range(0, rows.shape[1], size)]
    return torch.cat(parts, dim=1).reshape(weight.shape)


def part_of(rows: Tensor) -> Tensor:
    scale = (rows.abs().amax(dim=1) / MOST).clamp(min=2**-23)
    zero = torch.zeros(len(rows), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(rows.contiguous(), scale, zero, 0, -MOST, MOST)


def ours(weight: Tensor, granularity: str, kind: LayerKind) -> np.ndarray:
    """Ours by the reference; the torch twin and the streamed analysis have to agree with it."""
    x = weight.numpy()
    spec = QuantSpec.from_json({"format": "int4", "granularity": granularity})
    applied = spec.for_kind(kind)
    values = quantize(x, applied)[1]
    np.testing.assert_array_equal(FakeQuantize(applied)(weight).numpy(), values)
    analysis = finish(analyze(Values.of(x, kind=kind), spec))
    assert analysis.applied == applied
    error, signal = (values.astype(np.float64) - x) ** 2, x.astype(np.float64) ** 2
    assert analysis.metrics.sqnr_db == pytest.approx(10 * np.log10(signal.sum() / error.sum()), abs=1e-9)
    outputs = kind.output_axis(x.ndim)
    others = tuple(a for a in range(x.ndim) if a != outputs) if kind is not EXPERTS else (x.ndim - 1,)
    channels = 10 * np.log10((signal.sum(axis=others) / error.sum(axis=others)).ravel())
    np.testing.assert_allclose(analysis.channel_sqnr_db, channels, rtol=1e-9)
    return values


@pytest.mark.parametrize("size", [9, 32, 100])
@pytest.mark.parametrize("shape", [(8, 16, 3, 3), (5, 4, 1, 1), (6, 70), (7, 1, 3, 3), (4, 10, 5)], ids=str)
def test_groups_of_a_convolution_and_of_a_linear_layer(shape, size, verdict) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    np.testing.assert_array_equal(ours(x, f"group:{size}", LINEAR), by_groups(x, size).numpy())
    verdict.checked(x.numel(), formats=("int4",))


@pytest.mark.parametrize("shape", [(3, 64, 3, 3), (16, 5, 4), (2, 1, 2, 2, 2)], ids=str)
def test_a_transposed_convolution(shape, verdict) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2)) * 2.0 ** torch.arange(shape[1]).reshape(
        1, -1, *[1] * (len(shape) - 2)
    ).div(4)
    scale = x.abs().amax(dim=[a for a in range(x.ndim) if a != 1]) / MOST
    zero = torch.zeros(shape[1], dtype=torch.int32)
    theirs = torch.fake_quantize_per_channel_affine(x, scale, zero, 1, -MOST, MOST)
    np.testing.assert_array_equal(ours(x, "channel", TRANSPOSED), theirs.numpy())
    groups = by_groups(x.transpose(0, 1).contiguous(), 32).transpose(0, 1)
    np.testing.assert_array_equal(ours(x, "group:32", TRANSPOSED), groups.numpy())
    verdict.checked(2 * x.numel(), formats=("int4",))


@pytest.mark.parametrize("granularity", ["channel", "group:32", "block:4x16", "tensor"])
def test_gpt2s_conv1d_is_quantized_as_the_linear_layer_that_it_is(granularity, verdict) -> None:
    x = torch.randn(48, 70, generator=torch.Generator().manual_seed(3)) * torch.linspace(0.1, 5, 70)
    linear = ours(x.T.contiguous(), granularity, LINEAR)
    np.testing.assert_array_equal(ours(x, granularity, CONV1D), linear.T)
    verdict.checked(x.numel(), formats=("int4",))


@pytest.mark.parametrize("granularity", ["channel", "group:32"])
def test_stacked_experts_are_quantized_as_each_expert_alone(granularity, verdict) -> None:
    x = torch.randn(6, 10, 70, generator=torch.Generator().manual_seed(4)) * torch.logspace(-2, 2, 6)[:, None, None]
    alone = np.stack([ours(expert.contiguous(), granularity, LINEAR) for expert in x])
    np.testing.assert_array_equal(ours(x, granularity, EXPERTS), alone)
    verdict.checked(x.numel(), formats=("int4",))


@pytest.mark.parametrize(
    ("layer", "outputs"),
    [(nn.Conv2d(4, 6, 3), 6), (nn.ConvTranspose2d(4, 6, 3), 6), (nn.Linear(4, 6), 6), (nn.Embedding(9, 4), 9),
     (nn.ConvTranspose1d(4, 6, 3), 6), (nn.Conv1d(4, 6, 3), 6)], ids=lambda x: type(x).__name__)  # fmt: skip
def test_the_axis_of_a_module_is_that_of_its_outputs(layer, outputs) -> None:
    axis = kind_of(layer).output_axis(layer.weight.ndim)
    assert layer.weight.shape[axis] == outputs


NAMED = {
    "up.weight": ((3, 64, 3, 3), 1), "ups.1.weight_v": ((16, 8, 4), 1), "decoder.deconv2.0.weight": ((4, 8, 2, 2), 1),
    "upconv1.weight": ((4, 8, 2, 2), 1), "convtranspose.weight": ((4, 8, 2, 2), 1),
    "net.conv_transpose1.weight": ((4, 8, 2, 2), 1), "convT.weight": ((4, 8, 2, 2), 1),
    "up_blocks.0.resnets.0.conv1.weight": ((64, 32, 3, 3), 0), "up_blocks.1.upsamplers.0.conv.weight": ((8, 4, 3), 0),
    "transition1.weight": ((4, 8, 1, 1), 0), "stem.weight": ((4, 8, 3), 0), "layers.0.mlp.up_proj.weight": ((8, 4), 0),
    "h.0.attn.c_attn.weight": ((8, 24), 1), "transformer.h.11.mlp.c_proj.weight": ((32, 8), 1),
    "transformer.wte.weight": ((90, 8), 0), "model.embed_tokens.weight": ((90, 8), 0), "token_embd.weight": ((9, 4), 0),
    "vision_model.embeddings.patch_embedding.weight": ((8, 3, 4, 4), 0), "cls_token": ((1, 1, 4), 1),
    "model.layers.0.mlp.experts.down_proj": ((4, 8, 16), 1), "blk.0.ffn_up_exps.weight": ((4, 8, 16), 1),
    "experts.0.w1.weight": ((8, 4), 0), "pos_embed": ((1, 9, 4), 1), "dense.kernel": ((8, 4), 1), "a.b": ((9,), None),
    "told_by_its_bias.weight": ((4, 8, 2, 2), 1), "told_by_its_bias.bias": ((8,), None),
    "in_groups.weight": ((6, 5, 2, 2), 1), "in_groups.bias": ((10,), None),
    "up2.weight": ((4, 8, 2, 2), 0), "up2.bias": ((4,), None),
}  # fmt: skip


def test_the_axis_of_a_tensor_in_a_file_is_guessed_and_can_be_overruled(tmp_path: Path, capsys) -> None:
    path = tmp_path / "model.safetensors"
    rng = np.random.default_rng(5)
    save_file({name: rng.normal(size=shape).astype(np.float32) for name, (shape, _) in NAMED.items()}, path)
    assert main(["list", str(path), "--json"]) == 0
    listed = {each["name"]: each["output_axis"] for each in json.loads(capsys.readouterr().out)["tensors"]}
    assert listed == {name: axis for name, (_, axis) in NAMED.items()}
    words = ["analyze", str(path), "--tensor", "up.weight", "--format", "int4", "--json", "--granularity"]
    expected = {"channel": ("channel:1", 64), "channel:0": ("channel:0", 3), "group:9": ("group:9,1", 192),
                "group:9,0": ("group:9,0", 192), "last_axis:9": ("last_axis:9", 576)}  # fmt: skip
    for asked, (done, scales) in expected.items():
        assert main([*words, asked]) == 0
        (found,) = json.loads(capsys.readouterr().out)["tensors"]
        assert (found["spec"]["granularity"], found["scale"]["n"]) == (done, scales)


def test_mobilenet_in_int4_groups_of_32_takes_five_bits_a_weight(capsys) -> None:
    sample = "resources/mobilenet_v2_digits.safetensors"
    assert main(["analyze", sample, "--all", "--format", "int4", "--granularity", "group:32", "--json"]) == 0
    totals = json.loads(capsys.readouterr().out)["totals"]
    assert 8 * totals["bytes"] / totals["params"] == pytest.approx(5.07, abs=0.05)
    assert 20 < totals["sqnr_db"] < 30
