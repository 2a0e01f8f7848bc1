import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forgeries import opened, refused, write
from safetensors.numpy import save_file

from qexplorer.progress import finish
from qexplorer.weights import FormatError, open_checkpoint

ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def _index(folder: Path, weight_map: Any, name: str = "model.safetensors.index.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return write(folder / name, json.dumps({"metadata": {"total_size": 40}, "weight_map": weight_map}).encode())


def _folder(folder: Path) -> Path:
    """A folder of two shards with one tensor each."""
    _index(folder, {"a": ONE, "b": TWO})
    save_file({"a": np.arange(4, dtype=np.float32)}, folder / ONE)
    save_file({"b": np.arange(6, dtype=np.float32)}, folder / TWO)
    return folder


def _links(tmp_path: Path) -> None:
    try:
        (tmp_path / "link").symlink_to(tmp_path)
    except (OSError, NotImplementedError):
        pytest.skip("needs symbolic links")


@pytest.mark.parametrize("entry", ["", "model.safetensors.index.json"])
def test_a_folder_and_its_index_open_the_same(tmp_path: Path, entry: str) -> None:
    checkpoint = opened(_folder(tmp_path) / entry)
    assert [(t.name, t.file.name) for t in checkpoint.tensors] == [("a", ONE), ("b", TWO)]
    assert (checkpoint.format, checkpoint.metadata, checkpoint.warnings) == (
        "sharded safetensors",
        {"total_size": "40"},
        (),
    )
    np.testing.assert_array_equal(checkpoint.read(checkpoint.tensor("b")), np.arange(6))


def test_shards_of_pytorch_files_are_opened(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(3.0)}, tmp_path / "pytorch_model-00001-of-00001.bin")
    _index(tmp_path, {"a": "pytorch_model-00001-of-00001.bin"}, "pytorch_model.bin.index.json")
    checkpoint = opened(tmp_path)
    assert checkpoint.format == "sharded PyTorch"
    np.testing.assert_array_equal(checkpoint.read(checkpoint.tensor("a")), [0, 1, 2])


def test_safetensors_come_before_pytorch_files(tmp_path: Path) -> None:
    _index(_folder(tmp_path), {"a": "x.bin"}, "pytorch_model.bin.index.json")
    checkpoint = opened(tmp_path)
    assert checkpoint.format == "sharded safetensors"
    assert "pytorch_model.bin.index.json" in checkpoint.warnings[0]


@pytest.mark.parametrize("others", [[], ["training_args.bin"], ["model.fp16.safetensors"]])
def test_a_folder_with_one_usual_file_needs_no_index(tmp_path: Path, others: list[str]) -> None:
    save_file({"a": np.ones(2, np.float32)}, tmp_path / "model.safetensors")
    for other in others:
        (tmp_path / other).touch()
    checkpoint = opened(tmp_path)
    assert [t.name for t in checkpoint.tensors] == ["a"]
    assert len(checkpoint.warnings) == len(others)


def test_several_files_without_an_index_are_refused_by_name(tmp_path: Path) -> None:
    (_folder(tmp_path) / "model.safetensors.index.json").unlink()
    error = refused(tmp_path, "NoIndex")
    assert ONE in error.what
    assert TWO in error.what


@pytest.mark.parametrize(
    "name",
    [
        "../outside.safetensors",
        "/etc/passwd",
        "C:\\x.safetensors",
        "..\\..\\x",
        "sub/x.safetensors",
        "",
        ".",
        "..",
        "NUL",
        "con.safetensors",
        "a\x00b",
        "x.safetensors:stream",
        "a\nb",
        "x" * 10_000_000,
    ],
)
def test_a_shard_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    save_file({"a": np.ones(2, np.float32)}, tmp_path / "outside.safetensors")
    refused(_index(tmp_path / "model", {"a": name}), "UnsafePath")


def test_a_shard_that_links_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    _links(tmp_path)
    secret = write(tmp_path / "secret", b"this is not for you")
    folder = _folder(tmp_path / "model")
    (folder / ONE).unlink()
    (folder / ONE).symlink_to(secret)
    refused(folder, "UnsafePath")


def test_the_links_of_a_hugging_face_cache_are_followed_into_its_own_blobs_only(tmp_path: Path) -> None:
    _links(tmp_path)
    for repository in ("models--mine", "models--other"):
        snapshot = _folder(tmp_path / repository / "snapshots" / "abc")
        (tmp_path / repository / "blobs").mkdir()
        for shard in (ONE, TWO):
            (snapshot / shard).rename(tmp_path / repository / "blobs" / shard[:11])
            (snapshot / shard).symlink_to(Path("..") / ".." / "blobs" / shard[:11])
    snapshot = tmp_path / "models--mine" / "snapshots" / "abc"
    checkpoint = opened(snapshot)
    np.testing.assert_array_equal(checkpoint.read(checkpoint.tensor("a")), np.arange(4))
    (snapshot / ONE).unlink()
    (snapshot / ONE).symlink_to(tmp_path / "models--other" / "blobs" / ONE[:11])
    refused(snapshot, "UnsafePath")


def test_a_missing_shard_is_named_and_the_others_are_listed(tmp_path: Path) -> None:
    (_folder(tmp_path) / TWO).unlink()
    checkpoint = opened(tmp_path)
    assert [t.name for t in checkpoint.tensors] == ["a"]
    assert TWO in checkpoint.warnings[0]
    (tmp_path / ONE).unlink()
    assert ONE in refused(tmp_path, "MissingShards").what


def test_an_index_that_disagrees_with_its_shards_is_a_warning(tmp_path: Path) -> None:
    _index(_folder(tmp_path), {"a": ONE, "ghost": ONE, "c": TWO})
    checkpoint = opened(tmp_path)
    assert [t.name for t in checkpoint.tensors] == ["a", "b"]
    assert "ghost" in checkpoint.warnings[0]
    assert f"{TWO}: b" in checkpoint.warnings[1]


def test_a_tensor_in_two_shards_is_taken_from_the_one_that_the_index_names(tmp_path: Path) -> None:
    save_file({"b": np.zeros(6, np.float32), "a": np.zeros(4, np.float32)}, _folder(tmp_path) / TWO)
    checkpoint = opened(tmp_path)
    assert [(t.name, t.file.name) for t in checkpoint.tensors] == [("a", ONE), ("b", TWO)]


@pytest.mark.parametrize("value", [["x"], 7, None, {}])
def test_a_shard_that_is_not_a_name_is_refused(tmp_path: Path, value: Any) -> None:
    refused(_index(tmp_path, {"a": value}), "BadIndex")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("{" * 100_000, "BadIndex"),
        ('{"weight_map": NaN, "padding": 1}', "BadIndex"),
        ('{"weight_map": {"a": "x", "a": "y"}}', "Duplicate"),
        ('{"weight_map": {}, "padding": 1}', "BadIndex"),
        ('["weight_map"]', "BadIndex"),
    ],
)
def test_an_index_that_makes_no_sense_is_refused(tmp_path: Path, text: str, kind: str) -> None:
    refused(write(tmp_path / "model.safetensors.index.json", text.encode()), kind)


def test_an_index_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = _index(tmp_path, {"a": "x"})
    os.truncate(path, 65 << 20)
    refused(path, "TooLarge")


def test_an_index_of_too_many_files_is_refused_at_once(tmp_path: Path) -> None:
    started = time.process_time()
    refused(_index(tmp_path, {f"t{n}": f"f{n}" for n in range(200_000)}), "TooLarge")
    assert time.process_time() - started < 2


def test_a_search_for_many_files_can_be_cancelled(tmp_path: Path) -> None:
    phases: list[str] = []
    with pytest.raises(FormatError, match="none of the 1000 files"):
        finish(
            open_checkpoint(_index(tmp_path, {f"t{n}": f"f{n}" for n in range(1000)})),
            lambda step: phases.append(step.phase),
        )
    assert phases.count("Looking for the files") == 10


def test_shards_together_keep_the_limit_on_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.weights.limits.TENSORS", 1)
    refused(_folder(tmp_path), "TooLarge")


def test_an_index_with_endless_metadata_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.weights.limits.METADATA_ENTRIES", 2)
    index = _index(_folder(tmp_path), {})
    index.write_text(json.dumps({"metadata": {str(n): [n] for n in range(9)}, "weight_map": {"a": ONE}}))
    assert opened(index).metadata == {"0": "[0]", "1": "[1]"}


def test_the_hidden_files_of_macos_are_passed_over(tmp_path: Path) -> None:
    save_file({"a": np.ones(2, np.float32)}, tmp_path / "model.safetensors")
    write(tmp_path / "._model.safetensors", b"\x00\x05\x16\x07" + bytes(100))
    write(tmp_path / "._model.safetensors.index.json", b"\x00\x05\x16\x07" + bytes(100))
    checkpoint = opened(tmp_path)
    assert [t.name for t in checkpoint.tensors] == ["a"]
    assert checkpoint.warnings == ()
    (tmp_path / "model.safetensors").unlink()
    refused(tmp_path, "NoWeights")


def test_a_shard_that_links_to_itself_is_refused(tmp_path: Path) -> None:
    _links(tmp_path)
    (_folder(tmp_path / "model") / ONE).unlink()
    (tmp_path / "model" / ONE).symlink_to(ONE)
    with pytest.raises(FormatError):
        opened(tmp_path / "model" / "model.safetensors.index.json")


def test_an_index_that_names_itself_is_refused(tmp_path: Path) -> None:
    refused(_index(tmp_path, {"a": "model.safetensors.index.json"}), "JsonFile")


def test_a_shard_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    refused(_index(tmp_path, {"a": "sub"}), "NotRegular")


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    (_folder(tmp_path) / TWO).write_bytes((tmp_path / TWO).read_bytes()[:-4])
    assert TWO in str(refused(tmp_path, "Truncated"))


def test_a_shard_that_git_lfs_did_not_fetch_is_named(tmp_path: Path) -> None:
    write(_folder(tmp_path) / ONE, b"version https://git-lfs.github.com/spec/v1")
    assert ONE in str(refused(tmp_path, "GitLfsPointer"))
