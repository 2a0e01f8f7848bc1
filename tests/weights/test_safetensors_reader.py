import gc
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forgeries import FLOATS, entry, opened, refused, safetensors_bytes, settled_within, write
from safetensors.torch import save_file

from qexplorer.text import printable
from qexplorer.weights import FormatError, open_checkpoint

GIB = 1 << 30


def _file(path: Path, header: dict[str, Any] | str | bytes, data: bytes = FLOATS) -> Path:
    return write(path / "model.safetensors", safetensors_bytes(header, data))


def test_every_type_is_read_bit_for_bit(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    bits = torch.randint(0, 256, (4, 64), dtype=torch.uint8, generator=generator)
    names = "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 bfloat16 float32 float64 complex64"
    eights = "float8_e4m3fn float8_e5m2 float8_e8m0fnu float8_e4m3fnuz float8_e5m2fnuz"
    tensors = {name: bits.view(getattr(torch, name)) for name in f"{names} {eights}".split() if name != "bool"}
    tensors["bool"] = bits > 100
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, tmp_path / "all.safetensors")
    checkpoint = opened(tmp_path / "all.safetensors")
    assert {t.name for t in checkpoint.tensors} == set(tensors)
    for name, stored in tensors.items():
        info = checkpoint.tensor(name)
        assert (info.dtype, info.shape, info.nbytes) == (name, tuple(stored.shape), stored.nbytes)
        widened = stored.float() if name in eights or name == "bfloat16" else stored
        values = checkpoint.read(info)
        assert values.dtype == widened.numpy().dtype
        np.testing.assert_array_equal(values, widened.numpy())


def test_scalars_and_empty_tensors_keep_their_shape(tmp_path: Path) -> None:
    save_file({"scalar": torch.tensor(2.5), "none": torch.empty(0, 3)}, tmp_path / "a.safetensors")
    checkpoint = opened(tmp_path / "a.safetensors")
    assert checkpoint.tensor("scalar").shape == ()
    assert checkpoint.read(checkpoint.tensor("scalar")) == 2.5
    assert checkpoint.read(checkpoint.tensor("none")).shape == (0, 3)


def test_metadata_is_shown(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors", {"format": "pt"})
    assert opened(tmp_path / "a.safetensors").metadata == {"format": "pt"}


@pytest.mark.parametrize(
    ("length", "kind"),
    [(1 << 63, "HeaderTooLarge"), (200 << 20, "HeaderTooLarge"), (50_000_000, "Truncated"), (600, "BadHeader")],
)
def test_a_header_length_that_cannot_be_is_refused(tmp_path: Path, length: int, kind: str) -> None:
    path = write(tmp_path / "a.safetensors", length.to_bytes(8, "little") + b'{"a":' + bytes(1000))
    refused(path, kind)


ENTRY = json.dumps(entry([6], 0, 24))


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (f'{{"a":{ENTRY},"a":{ENTRY.replace("F32", "I32")}}}', "Duplicate"),
        (f'{{"a":{ENTRY.replace("[6]", "[6], " + chr(34) + "shape" + chr(34) + ": [6]")}}}', "Duplicate"),
        ({"a": entry([6], 0, 24), "b": entry([2], 16, 24)}, "Overlap"),
        ({"a": entry([2], 0, 8), "b": entry([2], 16, 24)}, "Hole"),
        ({"a": entry([2], 8, 16)}, "Hole"),
        ({"a": entry([12], 0, 48)}, "Truncated"),
        ({"a": entry([1 << 33, 1 << 33], 0, 24)}, "BadShape"),
        ({"a": entry([1 << 48], 0, 24)}, "BadShape"),
        ({"a": entry([1] * 65, 0, 4)}, "BadShape"),
        ({"a": entry([-6], 0, 24)}, "BadShape"),
        ({"a": entry([6.0], 0, 24)}, "BadShape"),
        ({"a": entry([True, 6], 0, 24)}, "BadShape"),
        ({"a": entry(["6"], 0, 24)}, "BadShape"),
        ({"s": entry([], 0, 4), "a": {**entry([], 4, 8), "shape": ""}}, "BadShape"),
        ({"s": entry([], 0, 4), "a": {**entry([], 4, 8), "shape": {}}}, "BadShape"),
        ({"s": entry([], 0, 4), "a": {**entry([], 4, 8), "shape": None}}, "BadShape"),
        ({"a": entry([7], 0, 24)}, "BadHeader"),
        ({"a": entry([6], -24, 0)}, "BadHeader"),
        ({"a": entry([6], 0.0, 24)}, "BadHeader"),
        ({"a": entry([6], False, 24)}, "BadHeader"),
        ({"a": entry([6], 0, 10**4200)}, "BadHeader"),
        ({"a": entry([6], "0", 24)}, "BadHeader"),
        ({"a": entry([6], 24, 0)}, "BadHeader"),
        ({"a": entry([6], 0, 24, 7)}, "BadHeader"),
        ({"a": [1, 2, 3]}, "BadHeader"),
        ({"a": {"dtype": "F32", "shape": [6]}}, "BadHeader"),
        ("{" + '"a":[' * 100_000, "BadHeader"),
        ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "BadHeader"),
        ('{"a": NaN}', "BadHeader"),
        (f'{{"a":{ENTRY}}} {{}}', "BadHeader"),
        (b'{"\xff": 1}', "BadHeader"),
        ({"a" * 70_000: entry([6], 0, 24)}, "TooLarge"),
    ],
)  # fmt: skip
def test_a_header_that_contradicts_itself_is_refused(tmp_path: Path, header: Any, kind: str) -> None:
    refused(_file(tmp_path, header), kind)


def test_trailing_bytes_are_a_warning(tmp_path: Path) -> None:
    checkpoint = opened(_file(tmp_path, {"a": entry([6], 0, 24)}, FLOATS + bytes(100)))
    assert "100 bytes follow" in checkpoint.warnings[0]
    np.testing.assert_array_equal(checkpoint.read(checkpoint.tensors[0]), [1, 2, 3, 4, 5, 6])


def test_a_huge_empty_tensor_is_listed_and_takes_nothing(tmp_path: Path) -> None:
    checkpoint = opened(_file(tmp_path, {"a": entry([0, 1 << 40], 0, 0)}, b""))
    assert checkpoint.read(checkpoint.tensors[0]).shape == (0, 1 << 40)


@pytest.mark.parametrize(("dtype", "shape", "nbytes"), [("F99", [6], 24), ("F4", [7, 2], 7), ("F6_E2M3", [4], 3)])
def test_a_type_that_cannot_be_shown_is_listed_and_refused_when_read(
    tmp_path: Path, dtype: str, shape: list[int], nbytes: int
) -> None:
    header = {"a": entry(shape, 0, nbytes, dtype), "b": entry([6], nbytes, nbytes + 24)}
    checkpoint = opened(_file(tmp_path, header, bytes(nbytes) + FLOATS))
    assert dtype in checkpoint.tensor("a").unsupported
    assert checkpoint.tensor("a").shape == tuple(shape)
    assert checkpoint.read(checkpoint.tensor("b"))[5] == 6
    with pytest.raises(FormatError) as caught:
        checkpoint.read(checkpoint.tensor("a"))
    assert caught.value.kind == "Unsupported"


@pytest.mark.parametrize("metadata", [{"a": 1}, {"a": ["x"]}, [1], 7])
def test_metadata_that_is_not_text_is_a_warning(tmp_path: Path, metadata: Any) -> None:
    checkpoint = opened(_file(tmp_path, {"__metadata__": metadata, "a": entry([6], 0, 24)}))
    assert "__metadata__" in checkpoint.warnings[0]


def test_ninety_megabytes_of_metadata_are_cut(tmp_path: Path) -> None:
    checkpoint = opened(_file(tmp_path, {"__metadata__": {"a": "x" * 90_000_000}}, b""))
    assert len(checkpoint.metadata["a"]) <= 10_000
    assert "unusually much" in checkpoint.warnings[0]


@pytest.mark.parametrize(
    "name", ["../../x", "a\x00b", "<img src=x>", "a\u202eb", "a\ud800b", "a\nb\x1b[2J", "n" * 2000]
)
def test_a_hostile_name_is_listed_and_shown_escaped(tmp_path: Path, name: str) -> None:
    checkpoint = opened(_file(tmp_path, {name: entry([6], 0, 24)}))
    assert checkpoint.read(checkpoint.tensor(name))[0] == 1
    text = printable(checkpoint.tensors[0].name)
    assert text.isprintable()
    assert len(text) <= 512
    assert text.encode("utf-8")


@pytest.mark.parametrize("one", ["[]", "{}", "0", '"ab"'])
def test_a_header_of_millions_of_values_is_refused_before_they_are_made(tmp_path: Path, one: str) -> None:
    path = _file(tmp_path, '{"a":[' + f"{one}," * 19_000_000 + "0]}", b"")
    with settled_within(1, 250_000_000):
        refused(path, "TooLarge")


def test_a_header_of_millions_of_keys_is_refused_before_they_are_made(tmp_path: Path) -> None:
    refused(_file(tmp_path, '{"a":{' + '"b":1,' * 10_000_000 + '"c":1}}', b""), "TooLarge")


def test_metadata_as_deep_as_can_just_be_read_is_no_error(tmp_path: Path) -> None:
    depths = range(sys.getrecursionlimit() - 150, sys.getrecursionlimit())
    for depth in depths:
        header = '{"__metadata__":{"a":' + "[" * depth + "]" * depth + "}}"
        with suppress(FormatError):
            opened(_file(tmp_path, header, b""))


def test_a_listing_can_be_cancelled_and_leaves_the_collector_on(tmp_path: Path) -> None:
    n = 50_000
    header = {f"t{i}": entry([1], i, i + 1, "U8") for i in range(n)}
    steps = open_checkpoint(_file(tmp_path, header, bytes(n)))
    phases: list[str] = []
    for step in steps:
        phases.append(step.phase)
        assert gc.isenabled()
    assert phases.count("Listing the tensors") == 3


def test_three_hundred_thousand_tensors_are_listed(tmp_path: Path) -> None:
    n = 300_000
    form = '"model.layers.%d.weight":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}'
    header = "{" + ",".join(form % (i, i, i + 1) for i in range(n)) + "}"
    path = _file(tmp_path, header, bytes(n))
    tensors = opened(path).tensors
    assert len(tensors) == n
    assert tensors[-1].name == f"model.layers.{n - 1}.weight"


def test_blocks_keep_their_size_and_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.weights.file_checkpoint.BLOCK_BYTES", 1000)
    values = torch.arange(1003).bfloat16()
    save_file({"a": values}, tmp_path / "a.safetensors")
    checkpoint = opened(tmp_path / "a.safetensors")
    blocks = list(checkpoint.blocks(checkpoint.tensors[0]))
    assert [len(block) for block in blocks] == [250, 250, 250, 250, 3]
    np.testing.assert_array_equal(np.concatenate(blocks), values.float().numpy())


def test_limits_on_tensors_and_metadata_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path, {"__metadata__": {"a": "1", "b": "2"}, "x": entry([3], 0, 12), "y": entry([3], 12, 24)})
    monkeypatch.setattr("qexplorer.weights.limits.METADATA_ENTRIES", 1)
    checkpoint = opened(path)
    assert checkpoint.metadata == {"a": "1"}
    assert "2 entries" in checkpoint.warnings[0]
    monkeypatch.setattr("qexplorer.weights.limits.TENSORS", 1)
    refused(path, "TooLarge")
