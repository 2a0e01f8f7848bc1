"""What tensors are, judged by the modules and optimizers of torch that named them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qexplorer.cli import main
from qexplorer.progress import finish
from qexplorer.weights import Checkpoint, open_checkpoint
from qexplorer.weights.roles import PARAMETERS, ROLES, role_of

MODULES: dict[str, nn.Module] = {
    "batch norm": nn.BatchNorm2d(4),
    "instance norm": nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    "layer norm": nn.LayerNorm(4),
    "group norm": nn.GroupNorm(2, 4),
    "LSTM": nn.LSTM(4, 4, 2, bidirectional=True, proj_size=2),
    "GRU cell": nn.GRUCell(3, 3),
    "attention": nn.MultiheadAttention(4, 2, add_bias_kv=True),
    "attention of three widths": nn.MultiheadAttention(4, 2, kdim=3, vdim=5),
    "transformer": nn.TransformerEncoderLayer(4, 2, 4),
    "bilinear": nn.Bilinear(2, 3, 4),
    "one output": nn.Linear(64, 1),
    "transposed": nn.ConvTranspose2d(3, 5, 2),
    "weight norm": nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)),
    "spectral norm": nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)),
    "average": torch.optim.swa_utils.AveragedModel(nn.Linear(2, 2)),
    "fake quantization": torch.ao.quantization.FakeQuantize(),
}
OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "SGD": (torch.optim.SGD, {"momentum": 0.9}),
    "Adam": (torch.optim.Adam, {"amsgrad": True}),
    "Adamax": (torch.optim.Adamax, {}),
    "Adagrad": (torch.optim.Adagrad, {}),
    "Adadelta": (torch.optim.Adadelta, {}),
    "RMSprop": (torch.optim.RMSprop, {"centered": True}),
    "Rprop": (torch.optim.Rprop, {}),
    "Adafactor": (torch.optim.Adafactor, {}),
}


def roles(tensors: dict[str, Tensor]) -> dict[str, str]:
    return {
        name: role_of(name, str(t.dtype).removeprefix("torch."), tuple(t.shape), tensors).name
        for name, t in tensors.items()
    }


def saved(folder: Path, content: object) -> Checkpoint:
    torch.save(content, folder / "c.pt")
    return finish(open_checkpoint(str(folder / "c.pt")))


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("prefix", ["", "encoder.3."])
def test_what_a_module_calls_a_parameter_is_one_and_its_buffers_are_none(name: str, prefix: str) -> None:
    module = MODULES[name]
    found = roles({prefix + key: value for key, value in module.state_dict().items()})
    assert set(found.values()) <= set(ROLES)
    learned = {prefix + key for key, _ in module.named_parameters()}
    assert {key for key, role in found.items() if role in PARAMETERS} == learned


def test_weights_biases_and_normalizations_are_told_apart() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4), nn.LayerNorm(4))
    assert roles(net.state_dict()) == {
        "0.weight": "weight", "0.bias": "bias", "1.weight": "norm", "1.bias": "bias", "1.running_mean": "statistic",
        "1.running_var": "statistic", "1.num_batches_tracked": "counter", "2.weight": "weight", "2.bias": "bias",
        "3.weight": "norm", "3.bias": "bias",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "role"),
    [
        ("transformer.wte.weight", "float32", (50257, 768), "embedding"),
        ("transformer.wpe.weight", "float32", (1024, 768), "position"),
        ("bert.embeddings.position_embeddings.weight", "float32", (512, 768), "position"),
        ("bert.embeddings.LayerNorm.weight", "float32", (768,), "norm"),
        ("model.embed_tokens.weight", "bfloat16", (32000, 4096), "embedding"),
        ("patch_embed.proj.weight", "float32", (768, 3, 16, 16), "weight"),
        ("encoder.pos_embedding", "float32", (1, 197, 768), "position"),
        ("class_token", "float32", (1, 1, 768), "embedding"),
        ("layers.0.attn.relative_position_bias_table", "float32", (169, 3), "position"),
        ("h.0.attn.bias", "float32", (1, 1, 1024, 1024), "unknown"),
        ("model.rotary_emb.inv_freq", "float32", (64,), "statistic"),
        ("experts.down_proj", "bfloat16", (8, 256, 512), "weight"),
        ("q_proj.lora_A.default.weight", "float32", (8, 512), "lora"),
        ("q_proj.qweight", "int32", (8, 512), "code"),
        ("q_proj.qzeros", "int32", (8, 64), "zero_point"),
        ("q_proj.scales", "float16", (8, 512), "scale"),
        ("q_proj.weight", "int8", (512, 512), "code"),
        ("q_proj.weight", "float8_e4m3fn", (512, 512), "weight"),
        ("q_proj.weight_scale_inv", "float32", (4, 4), "scale"),
        ("q_proj.weight_packed", "int32", (512, 64), "code"),
        ("q_proj.weight_shape", "int64", (2,), "shape"),
        ("q_proj.weight.absmax", "float32", (4096,), "scale"),
        ("model_ema.features.0.weight", "float32", (8, 3, 3, 3), "ema"),
        ("norm.scale", "float32", (768,), "norm"),
        ("logit_scale", "float32", (), "weight"),
        ("position_ids", "int64", (1, 512), "unknown"),
    ],
)
def test_names_of_other_programs(name: str, dtype: str, shape: tuple[int, ...], role: str) -> None:
    found = role_of(name, dtype, shape, {name})
    assert found.name == role
    assert found.reason.endswith(".")


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("whole", [True, False], ids=["beside a model", "alone"])
def test_the_state_of_an_optimizer_is_no_weight(tmp_path: Path, name: str, whole: bool) -> None:
    kind, options = OPTIMIZERS[name]
    net = nn.Linear(6, 4)
    optimizer = kind(net.parameters(), **options)
    net(torch.ones(1, 6)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    found = saved(tmp_path, {"model": net.state_dict(), "optimizer": state, "epoch": 3} if whole else state)
    kept = [v for each in state["state"].values() for k, v in each.items() if isinstance(v, Tensor) and k != "step"]
    assert found.parameters == (6 * 4 + 4 if whole else 0)
    assert found.by_role["optimizer"].values == sum(v.numel() for v in kept)


def test_list_tells_roles_and_adds_up_what_is_learned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Embedding(10, 4))
    tied = dict(net.state_dict()) | {"again": net[0].weight}
    saved(tmp_path, {"model": tied})
    assert main(["list", str(tmp_path / "c.pt"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    told = {each["name"]: each["role"] for each in document["tensors"]}
    assert told["model.1.running_var"] == "statistic"
    assert {each["name"]: each["flags"] for each in document["tensors"] if each["flags"]} == {"model.again": ["tied"]}
    totals = document["totals"]
    assert totals["params"] == sum(p.numel() for p in net.parameters())
    assert totals["optimizer_values"] == 0
    assert totals["by_role"]["statistic"] == {"tensors": 2, "values": 16, "bytes": 64}
    assert sum(each["values"] for each in totals["by_role"].values()) == sum(
        math.prod(v.shape) for v in net.state_dict().values()
    )
