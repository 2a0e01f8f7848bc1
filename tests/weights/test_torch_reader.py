import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forgeries import opened

from qexplorer.weights import Checkpoint, FormatError


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(3, 2)
        self.norm = torch.nn.BatchNorm1d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.fc(x)) + torch.tensor([1.0, 2.0])


def _saved(path: Path, value: Any, **options: Any) -> Checkpoint:
    torch.save(value, path / "model.pt", **options)
    return opened(path / "model.pt")


def _assert_same(checkpoint: Checkpoint, name: str, expected: torch.Tensor) -> None:
    info = checkpoint.tensor(name)
    assert info.shape == tuple(expected.shape)
    assert f"torch.{info.dtype}" == str(expected.dtype)
    widened = expected.detach()
    if expected.dtype == torch.bfloat16 or "float8" in info.dtype:
        widened = widened.float()
    values = checkpoint.read(info)
    assert values.dtype == widened.numpy().dtype
    np.testing.assert_array_equal(values, widened.numpy())


def test_every_type_is_read_bit_for_bit(tmp_path: Path) -> None:
    bits = torch.randint(0, 256, (4, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    names = "uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 bfloat16 float32 float64 complex64 complex128"
    eights = "float8_e4m3fn float8_e5m2 float8_e8m0fnu float8_e4m3fnuz float8_e5m2fnuz"
    tensors = {name: bits.view(getattr(torch, name)).clone() for name in f"{names} {eights}".split()}
    tensors["bool"] = bits > 100
    checkpoint = _saved(tmp_path, tensors)
    assert [t.name for t in checkpoint.tensors] == list(tensors)
    assert checkpoint.code_references == ()
    for name, tensor in tensors.items():
        _assert_same(checkpoint, name, tensor)


def test_nested_containers_are_named_by_their_path(tmp_path: Path) -> None:
    net = Net()
    value = {
        "state_dict": net.state_dict(),
        "epoch": 3,
        "more": [torch.ones(2), (torch.zeros(1), {"x": torch.ones(1)})],
    }
    checkpoint = _saved(tmp_path, value)
    assert {"state_dict.fc.weight", "state_dict.norm.running_mean", "more.0", "more.1.0", "more.1.1.x"} <= set(
        checkpoint.by_name
    )
    assert checkpoint.metadata == {"epoch": "3"}
    _assert_same(checkpoint, "state_dict.fc.weight", net.fc.weight)
    _assert_same(checkpoint, "state_dict.norm.num_batches_tracked", net.norm.num_batches_tracked)


def test_an_optimizer_is_listed(tmp_path: Path) -> None:
    net = Net()
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    checkpoint = _saved(tmp_path, {"optimizer": optimizer.state_dict()})
    _assert_same(checkpoint, "optimizer.state.0.exp_avg", optimizer.state_dict()["state"][0]["exp_avg"])
    assert checkpoint.warnings == ()


def test_parameters_and_a_single_tensor_are_read(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.randn(3))
    _assert_same(_saved(tmp_path, {"p": parameter}), "p", parameter)
    _assert_same(_saved(tmp_path, torch.arange(5)), "model", torch.arange(5))


def test_a_whole_pickled_module_is_named_as_its_state_dict(tmp_path: Path) -> None:
    net = Net()
    checkpoint = _saved(tmp_path, net)
    assert set(net.state_dict()) == set(checkpoint.by_name)
    for name, tensor in net.state_dict().items():
        _assert_same(checkpoint, name, tensor)
    assert f"{__name__}.Net" in checkpoint.code_references
    assert "torch.nn.modules.linear.Linear" in checkpoint.code_references


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_is_read(tmp_path: Path, protocol: int) -> None:
    value = OrderedDict(a=torch.arange(6.0).reshape(2, 3), b={"c": (1, 2.5, "x", None, True, 1 << 70, b"y", {1, 2})})
    checkpoint = _saved(tmp_path, value, pickle_protocol=protocol)
    _assert_same(checkpoint, "a", value["a"])
    assert len(checkpoint.tensors) == 1


def test_views_are_read_in_the_order_of_their_indices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.weights.file_checkpoint.BLOCK_BYTES", 256)
    base = torch.randn(6, 10, 14)
    views = {
        "transposed": base.permute(2, 0, 1),
        "column": base[:, 3, 5],
        "steps": base[1::2, ::3, 2::5],
        "scalar": base[1, 2, 3],
        "tail": base[4:],
        "none": base[2:2],
        "swapped": base.transpose(0, 1),
        "diagonal": base[0].diagonal(),
    }
    checkpoint = _saved(tmp_path, views)
    for name, view in views.items():
        _assert_same(checkpoint, name, view)
        assert all(len(block) <= 64 for block in checkpoint.blocks(checkpoint.tensor(name)))


def test_tied_tensors_are_counted_once(tmp_path: Path) -> None:
    weight = torch.randn(4, 5)
    checkpoint = _saved(
        tmp_path, {"embed": weight, "head": weight, "t": weight.T, "part": weight[1:], "copy": weight[:]}
    )
    assert {t.name: t.tied_to for t in checkpoint.tensors} == {
        "embed": "",
        "head": "embed",
        "t": "",
        "part": "",
        "copy": "embed",
    }
    assert checkpoint.n == 20 + 20 + 15
    tied = torch.nn.Parameter(weight)
    assert _saved(tmp_path, {"a": tied, "b": tied}).tensor("b").tied_to == "a"


def test_a_container_met_twice_is_listed_once_with_a_warning(tmp_path: Path) -> None:
    weights = {"a": torch.ones(2)}
    checkpoint = _saved(tmp_path, {"model": weights, "ema": weights})
    assert [t.name for t in checkpoint.tensors] == ["model.a"]
    assert "“ema” is the same as “model”" in checkpoint.warnings[0]


def test_paths_that_spell_the_same_are_told_apart(tmp_path: Path) -> None:
    checkpoint = _saved(tmp_path, {"a.b": torch.ones(1), "a": {"b": torch.zeros(1)}})
    assert [t.name for t in checkpoint.tensors] == ["a.b", "a.b#2"]


def test_a_small_expanded_view_is_listed_and_not_unrolled(tmp_path: Path) -> None:
    checkpoint = _saved(tmp_path, {"a": torch.ones(1, 3).expand(4, 3), "one": torch.ones(1, 3).expand(1, 3)})
    _assert_same(checkpoint, "one", torch.ones(1, 3))
    with pytest.raises(FormatError) as caught:
        checkpoint.read(checkpoint.tensor("a"))
    assert caught.value.kind == "ExpandedTensor"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_sparse_quantized_and_meta_tensors_are_listed_as_unsupported(tmp_path: Path) -> None:
    eye = torch.eye(3, 2)
    checkpoint = _saved(
        tmp_path,
        {
            "coo": eye.to_sparse(),
            "csr": eye.to_sparse_csr(),
            "meta": eye.to("meta"),
            "quantized": torch.quantize_per_tensor(eye, 0.1, 0, torch.qint8),
            "dense": eye,
        },
    )
    assert {t.name: (t.dtype, t.shape) for t in checkpoint.tensors if t.unsupported} == {
        "coo": ("float32", (3, 2)),
        "csr": ("float32", (3, 2)),
        "meta": ("float32", (3, 2)),
        "quantized": ("qint8", (3, 2)),
    }
    _assert_same(checkpoint, "dense", eye)
    assert checkpoint.code_references == ()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_torchscript_archive_is_listed_and_not_run(tmp_path: Path) -> None:
    net = Net().eval()
    torch.jit.save(torch.jit.trace(net, torch.ones(1, 3), check_trace=False), tmp_path / "script.pt")
    checkpoint = opened(tmp_path / "script.pt")
    assert checkpoint.format == "TorchScript"
    for name, tensor in net.state_dict().items():
        _assert_same(checkpoint, name, tensor)
    np.testing.assert_array_equal(checkpoint.read(checkpoint.tensor("constants.0")), [1, 2])
    assert "not run" in checkpoint.warnings[0]
    assert checkpoint.code_references == ()


def test_a_file_saved_without_checksums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        _assert_same(_saved(tmp_path, {"a": torch.ones(3)}), "a", torch.ones(3))
    finally:
        torch.serialization.set_crc32_options(True)


def test_a_flipped_byte_is_found_where_a_tensor_is_a_whole_record(tmp_path: Path) -> None:
    values = torch.arange(1000.0)
    torch.save({"a": values, "part": values[1:]}, tmp_path / "model.pt")
    content = values.numpy().tobytes()
    data = (tmp_path / "model.pt").read_bytes().replace(content, content[:-1] + b"\x43")
    (tmp_path / "model.pt").write_bytes(data)
    checkpoint = opened(tmp_path / "model.pt")
    with pytest.raises(FormatError) as caught:
        checkpoint.read(checkpoint.tensor("a"))
    assert caught.value.kind == "BadChecksum"


def test_big_endian_numbers_are_turned(tmp_path: Path) -> None:
    tensors = {"f": torch.randn(5), "b": torch.randn(5).bfloat16(), "v": torch.arange(12).reshape(3, 4)[:, 1]}
    torch.save(tensors, tmp_path / "little.pt")
    with zipfile.ZipFile(tmp_path / "little.pt") as source, zipfile.ZipFile(tmp_path / "big.pt", "w") as target:
        widths = dict(zip(("data/0", "data/1", "data/2"), (4, 2, 8), strict=True))
        for name in source.namelist():
            content = source.read(name)
            for record, width in widths.items():
                if name.endswith(record):
                    content = np.frombuffer(content, f"<u{width}").astype(f">u{width}").tobytes()
            target.writestr(name, b"big" if name.endswith("byteorder") else content)
    checkpoint = opened(tmp_path / "big.pt")
    for name, tensor in tensors.items():
        _assert_same(checkpoint, name, tensor)


def test_twenty_thousand_tensors_are_listed(tmp_path: Path) -> None:
    torch.save({f"layer{i}.weight": torch.empty(1) for i in range(20_000)}, tmp_path / "many.pt")
    assert len(opened(tmp_path / "many.pt").tensors) == 20_000
