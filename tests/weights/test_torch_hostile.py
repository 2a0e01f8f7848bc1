import os
import pickle
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forgeries import FLOATS, call, opened, pickled, refused, settled_within, tensor, torch_file

from qexplorer.weights import FormatError, open_checkpoint


@pytest.fixture(autouse=True)
def _is_quick_and_small() -> Any:
    """Every case is settled within two seconds of processor time and, where it can be told, 300 MB."""
    with settled_within(2, 300_000_000):
        yield


def _canary(path: Path) -> Any:
    return call("posix" if os.name == "posix" else "nt", "system", f"echo x > {path}")


@pytest.mark.parametrize("protocol", [1, 2, 4])
def test_a_code_reference_is_named_and_not_run(tmp_path: Path, protocol: int) -> None:
    canary = tmp_path / "canary"
    value = {"a": tensor(), "evil": _canary(canary), "load": call("torch", "load", "x")}
    checkpoint = opened(torch_file(tmp_path / "model.pt", pickled(value, protocol)))
    assert checkpoint.code_references == (f"{'posix' if os.name == 'posix' else 'nt'}.system", "torch.load")
    np.testing.assert_array_equal(checkpoint.read(checkpoint.tensor("a")), [[1, 2, 3], [4, 5, 6]])
    assert not canary.exists()


def test_a_code_reference_in_a_torchscript_archive_is_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    evil = pickled((tensor(), _canary(canary)))
    path = torch_file(tmp_path / "model.pt", evil, {"constants.pkl": evil, "data/0": FLOATS, "constants/0": FLOATS})
    checkpoint = opened(path)
    assert [t.name for t in checkpoint.tensors] == ["0", "constants.0"]
    assert len(checkpoint.code_references) == 1
    assert not canary.exists()


def test_names_given_by_old_and_new_instructions_are_all_named(tmp_path: Path) -> None:
    code = b"\x80\x04(i" + b"os\nsystem\n" + b"0" + b"\x8c\x02os\x8c\x05popen\x93" + b"\x82\x07" + b")\x81" + b"."
    checkpoint = opened(torch_file(tmp_path / "model.pt", code))
    assert checkpoint.code_references == ("os.system", "os.popen", "copyreg.extension 7")


def test_the_tensors_in_an_unknown_rebuild_function_are_shown(tmp_path: Path) -> None:
    quantized = call(
        "torch._tensor",
        "_rebuild_from_type_v2",
        call("torch._utils", "_rebuild_wrapper_subclass").function,
        call("torchao", "Int8Tensor").function,
        (),
        {"qdata": tensor(), "scale": tensor(size=(2,), stride=(1,))},
    )
    value = {
        "linear": call("mine", "rebuild", tensor(), [tensor(offset=3, size=(3,), stride=(1,))]),
        "weight": quantized,
    }
    checkpoint = opened(torch_file(tmp_path / "model.pt", value))
    assert [t.name for t in checkpoint.tensors] == ["linear.0", "linear.1.0", "weight.qdata", "weight.scale"]
    assert checkpoint.code_references == ("mine.rebuild", "torchao.Int8Tensor")


@pytest.mark.parametrize(
    ("forged", "kind"),
    [
        (tensor(count=7), "Truncated"),
        (tensor(count=1 << 40), "Truncated"),
        (tensor(count=1 << 50), "BadPickle"),
        (tensor(count=-1), "BadPickle"),
        (tensor(key="../../etc/passwd"), "MissingRecord"),
        (tensor(key="1"), "MissingRecord"),
        (tensor(key=7), "BadPickle"),
        (tensor(offset=1), "OutOfBounds"),
        (tensor(offset=-1), "OutOfBounds"),
        (tensor(offset="0"), "OutOfBounds"),
        (tensor(size=(3, 3)), "OutOfBounds"),
        (tensor(size=(1 << 40,), stride=(1,)), "OutOfBounds"),
        (tensor(stride=(-3, 1)), "BadStride"),
        (tensor(stride=(3,)), "BadStride"),
        (tensor(stride=None), "BadStride"),
        (tensor(size=(-2, 3)), "BadShape"),
        (tensor(size="23"), "BadShape"),
        (tensor(size=(1,) * 65, stride=(1,) * 65), "BadShape"),
        (call("torch._utils", "_rebuild_tensor_v2", 1, 2, 3, 4), "BadPickle"),
        (call("torch._utils", "_rebuild_tensor_v2", 1), "BadPickle"),
    ],
)
def test_a_tensor_that_does_not_fit_its_record_is_refused(tmp_path: Path, forged: Any, kind: str) -> None:
    refused(torch_file(tmp_path / "model.pt", {"layer3.weight": forged}), kind)


def test_a_function_by_another_name_first_hides_no_tensor(tmp_path: Path) -> None:
    value = {"a": call("torch", "_utils._rebuild_tensor_v2"), "b": tensor()}
    alias = pickled({"b": tensor()}).replace(
        b"torch._utils\n_rebuild_tensor_v2\n", b"torch\n_utils._rebuild_tensor_v2\n"
    )
    assert [t.name for t in opened(torch_file(tmp_path / "alias.pt", alias)).tensors] == ["b"]
    refused(torch_file(tmp_path / "both.pt", value), "BadPickle")  # the first of them is a tensor without arguments


def test_a_short_record_is_refused_with_both_sizes(tmp_path: Path) -> None:
    error = refused(
        torch_file(tmp_path / "model.pt", {"layer3.weight": tensor()}, {"data/0": b"12345678"}), "Truncated"
    )
    assert "data/0” holds 8 bytes but the tensor layer3.weight needs 24" in error.what
    assert "Nothing was loaded" in error.remedy


def test_a_stride_of_nought_makes_no_trillion_values(tmp_path: Path) -> None:
    value = {"a": tensor(size=(1 << 20, 1 << 20), stride=(0, 0)), "b": tensor()}
    checkpoint = opened(torch_file(tmp_path / "model.pt", value))
    assert checkpoint.tensor("a").nbytes == 4
    with pytest.raises(FormatError) as caught:
        checkpoint.read(checkpoint.tensor("a"))
    assert caught.value.kind == "ExpandedTensor"
    assert checkpoint.read(checkpoint.tensor("b")).sum() == 21


def test_a_compressed_record_is_never_shown_as_numbers(tmp_path: Path) -> None:
    checkpoint = opened(torch_file(tmp_path / "model.pt", {"a": tensor()}, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(FormatError) as caught:
        checkpoint.read(checkpoint.tensor("a"))
    assert caught.value.kind == "Compressed"


def test_an_unknown_byte_order_is_refused(tmp_path: Path) -> None:
    refused(torch_file(tmp_path / "model.pt", {"a": tensor()}, {"byteorder": b"pdp", "data/0": FLOATS}), "BadByteOrder")


def _nested(n: int) -> bytes:
    return b"\x80\x02)" + b"\x85" * n + b"."


def _laughs() -> bytes:
    return b"\x80\x02)\x85" + b"2\x86" * 150 + b"."


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (_nested(200_000), "TooDeep"),
        (b"\x80\x02" + b"}(U\x01a" * 3000 + b"N" + b"u" * 3000 + b".", "TooDeep"),
        (b"\x80\x02X\xff\xff\xff\xffabc.", "TooLarge"),
        (b"\x80\x02\x8b\x00\x00\x00\x7fabc.", "TooLarge"),
        (b"\x80\x02\x8b\xff\xff\xff\xffabc.", "TooLarge"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"abc.", "TooLarge"),
        (b"\x80\x02]U\x01aK\x01s.", "BadPickle"),
        (b"\x80\x02K\x01K\x02b.", "BadPickle"),
        (b"\x80\x02K\x01K\x02a.", "BadPickle"),
        (b"\x80\x02}(U\x01au.", "BadPickle"),
        (b"\x80\x02t.", "BadPickle"),
        (b"\x80\x02.", "BadPickle"),
        (b"\x80\x02h\x07.", "BadPickle"),
        (b"\x80\x02K\x01K\x02\x93.", "BadPickle"),
        (b"\x80\x02\xfe.", "BadPickle"),
        (b"\x80\x02(((((", "Truncated"),
        (b"\x80\x02X\x05\x00\x00\x00ab", "Truncated"),
        (b"", "Truncated"),
        (b"I" + b"9" * 10_000 + b"\n.", "BadPickle"),
        (b"I" + b"9" * 4_000 + b"\n.", "TooLarge"),
        (b"Lx\n.", "BadPickle"),
        (b"Fx\n.", "BadPickle"),
        (b"Np\n.", "BadPickle"),
        (b"gx\n.", "BadPickle"),
    ],
)
def test_a_pickle_that_makes_no_sense_is_refused(tmp_path: Path, data: bytes, kind: str) -> None:
    refused(torch_file(tmp_path / "model.pt", data), kind)


@pytest.mark.parametrize(
    "data",
    [_laughs(), b"\x80\x02]q\x002a.", b"\x80\x02]q\x00h\x00a.", pickle.dumps({"a": {"b": [1, 2.5, {3}]}})],
    ids=["billion laughs", "a list in itself", "a list in itself, remembered", "no tensors"],
)
def test_a_tree_without_tensors_is_walked_once(tmp_path: Path, data: bytes) -> None:
    assert opened(torch_file(tmp_path / "model.pt", data)).tensors == ()


def _wrapped_twice(depth: int) -> bytes:
    """A subclass whose inner tensor and state are the same subclass, and so on: 2^depth paths lead to the bottom."""
    data = b"\x80\x02]q\x00K\x01a0"
    for n in range(depth):
        inner = b"j" + struct.pack("<I", n)
        data += b"ctorch._tensor\n_rebuild_from_type_v2\n(cfoo\nbar\nN" + inner + inner + b"tR"
        data += b"r" + struct.pack("<I", n + 1) + b"0"
    return data + b"j" + struct.pack("<I", depth) + b"."


def test_a_wrapper_in_a_wrapper_is_walked_once(tmp_path: Path) -> None:
    assert opened(torch_file(tmp_path / "model.pt", _wrapped_twice(150))).tensors == ()


def test_a_parameter_in_a_parameter_without_end_is_refused(tmp_path: Path) -> None:
    value = tensor()
    for _ in range(150):
        value = call("torch._utils", "_rebuild_parameter", value)
    assert [t.name for t in opened(torch_file(tmp_path / "model.pt", {"a": value})).tensors] == ["a"]
    start = b"\x80\x02" + b"ctorch._utils\n_rebuild_parameter\n" * 1000
    refused(torch_file(tmp_path / "model.pt", start + b"]K\x01a" + b"\x85R" * 1000 + b"."), "TooDeep")


@pytest.mark.parametrize("place", [b"cm\nf\nh\x01R", b"cm\nf\n)Rh\x01b", b"ccollections\nOrderedDict\nh\x02R"])
def test_calls_that_share_one_long_list_stop_at_the_limit(
    tmp_path: Path, place: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qexplorer.weights.limits.PICKLE_VISITS", 500_000)
    shared = b"(" + b"N" * 20_000 + b"tq\x010" + b"h\x01\x85q\x020"
    refused(torch_file(tmp_path / "model.pt", b"\x80\x02" + shared + b"(" + place * 10_000 + b"l."), "TooLarge")


def test_a_search_that_finds_nothing_can_be_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.weights.pickle_walk._STEP", 100)
    data = b"\x80\x02(" + b"(Nl" * 5000 + b"l."
    phases = [step.phase for step in open_checkpoint(torch_file(tmp_path / "model.pt", data))]
    assert phases.count("Looking for tensors") > 90


def test_a_request_for_three_gigabytes_is_not_followed(tmp_path: Path) -> None:
    checkpoint = opened(torch_file(tmp_path / "model.pt", {"a": call("builtins", "bytearray", 3 << 30), "b": tensor()}))
    assert "builtins.bytearray" in checkpoint.code_references


def test_an_inflating_pickle_is_refused(tmp_path: Path) -> None:
    text = b"\x80\x02X" + struct.pack("<I", 60 << 20) + b"x" * (60 << 20) + b"."
    refused(torch_file(tmp_path / "model.pt", text, compression=zipfile.ZIP_DEFLATED), "TooLarge")
    with (
        zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("archive/data.pkl", "w") as record,
    ):
        for _ in range(100):
            record.write(bytes(1 << 20))
    refused(tmp_path / "model.pt", "TooLarge")


def test_long_names_do_not_multiply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.weights.limits.NAMES_TOGETHER", 1 << 20)
    refused(torch_file(tmp_path / "model.pt", {"n" * 60_000: [tensor() for _ in range(50)]}), "TooLarge")
    refused(torch_file(tmp_path / "model.pt", {"n" * 70_000: tensor()}), "TooLarge")


def test_limits_on_instructions_and_objects_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = torch_file(tmp_path / "model.pt", {"a": [[], [], [], []]})
    monkeypatch.setattr("qexplorer.weights.limits.PICKLE_OBJECTS", 3)
    refused(path, "TooLarge")
    monkeypatch.setattr("qexplorer.weights.limits.PICKLE_OPCODES", 3)
    refused(path, "TooLarge")
    monkeypatch.setattr("qexplorer.weights.limits.PICKLE_BYTES", 3)
    refused(path, "TooLarge")


# The archive around the pickle


def _archive(tmp_path: Path, *names: str) -> Path:
    path = tmp_path / "model.pt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # zipfile warns of the duplicates that are wanted here
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, pickled({"a": tensor()}) if name.endswith("pkl") else FLOATS)
    return path


def _patched(path: Path, old: bytes, new: bytes, *, last: bool = False) -> Path:
    data = path.read_bytes()
    at = data.rfind(old) if last else data.find(old)
    assert at >= 0
    path.write_bytes(data[:at] + new + data[at + len(old) :])
    return path


@pytest.mark.parametrize("names", [("a/data.pkl", "a/data.pkl", "a/data/0"), ("a/data.pkl", "b/data.pkl", "a/data/0")])
def test_two_pickles_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    refused(_archive(tmp_path, *names), "Duplicate")


def test_a_record_with_two_names_is_refused(tmp_path: Path) -> None:
    refused(_patched(_archive(tmp_path, "a/data.pkl", "a/data/0"), b"a/data/0", b"a/data/1"), "NameMismatch")


def test_a_record_with_two_sizes_is_refused(tmp_path: Path) -> None:
    sizes = struct.pack("<2L", 24, 24)
    refused(_patched(_archive(tmp_path, "a/data.pkl", "a/data/0"), sizes, struct.pack("<2L", 20, 20)), "Mismatch")
    refused(
        _patched(_archive(tmp_path, "a/data.pkl", "a/data/0"), sizes, struct.pack("<2L", 24, 99), last=True), "Mismatch"
    )


def test_two_names_for_the_same_bytes_are_refused(tmp_path: Path) -> None:
    path = _archive(tmp_path, "a/data.pkl", "a/data/0", "a/data/1")
    data = path.read_bytes()
    second = data.find(b"PK\x01\x02", data.find(b"PK\x01\x02") + 4)
    third = data.find(b"PK\x01\x02", second + 4)
    path.write_bytes(data[: third + 42] + data[second + 42 : second + 46] + data[third + 46 :])
    refused(path, "NameMismatch")


def test_a_record_that_reaches_into_the_next_is_refused(tmp_path: Path) -> None:
    path = _archive(tmp_path, "a/data.pkl", "a/data/0", "a/version")
    data = path.read_bytes()
    sizes = struct.pack("<2L", 24, 24)
    local = data.find(sizes, data.find(b"a/data/0") - 20)
    central = data.find(sizes, data.find(b"PK\x01\x02"))
    for at in (local, central):
        data = data[:at] + struct.pack("<2L", 30, 30) + data[at + 8 :]
    path.write_bytes(data)
    refused(path, "Overlap")


def test_an_encrypted_record_is_refused(tmp_path: Path) -> None:
    path = _archive(tmp_path, "a/data.pkl", "a/data/0")
    data = bytearray(path.read_bytes())
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(magic) + at] |= 1
    path.write_bytes(data)
    refused(path, "Encrypted")


def test_a_wrong_checksum_of_the_pickle_is_refused(tmp_path: Path) -> None:
    path = _archive(tmp_path, "a/data.pkl", "a/data/0")
    crc = struct.pack("<L", zlib.crc32(pickled({"a": tensor()})))
    _patched(_patched(path, crc, b"\1\2\3\4"), crc, b"\1\2\3\4")
    refused(path, "BadChecksum")


def test_an_archive_whose_list_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    path = _archive(tmp_path, "a/data.pkl", "a/data/0")
    path.write_bytes(path.read_bytes()[:-6] + b"\x01\x00\x00\x00\x00\x00")
    refused(path, "Damaged")


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_an_archive_of_too_many_records_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _archive(tmp_path, "a/data.pkl", "a/data/0", "a/version")
    monkeypatch.setattr("qexplorer.weights.limits.ZIP_ENTRIES", 2)
    refused(path, "TooLarge")


def test_an_archive_of_more_records_than_it_states_is_refused(tmp_path: Path) -> None:
    path = _archive(tmp_path, "a/data.pkl", "a/data/0", "a/version")
    data = path.read_bytes()
    path.write_bytes(data[:-14] + struct.pack("<2H", 2, 2) + data[-10:])
    refused(path, "Damaged")


def test_a_listing_can_be_cancelled_and_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.weights.zip_archive._ENTRIES_AT_ONCE", 1)
    path = torch_file(tmp_path / "model.pt", {"a": tensor()}, {f"data/{n}": FLOATS for n in range(50)})
    phases = [step.phase for step in open_checkpoint(path)]
    assert phases.count("Listing the archive") == 51


def test_many_references_to_one_tensor_stop_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qexplorer.weights.limits.TENSORS", 1000)
    one = pickled(tensor())[2:-1]
    data = b"\x80\x02](" + one + b"r\xff\xff\x00\x00" + b"j\xff\xff\x00\x00" * 500_000 + b"e."
    refused(torch_file(tmp_path / "model.pt", data), "TooLarge")


def test_long_keys_above_many_containers_stop_at_the_limit(tmp_path: Path) -> None:
    key = b"X" + struct.pack("<I", 60_000) + b"n" * 60_000
    data = b"\x80\x02}" + key + b"](" + b"}" * 100_000 + b"es."
    refused(torch_file(tmp_path / "model.pt", data), "TooLarge")


def test_a_thousand_code_references_are_listed(tmp_path: Path) -> None:
    data = b"\x80\x02" + b"".join(b"cm%d\nf\n0" % n for n in range(1500)) + b"N."
    checkpoint = opened(torch_file(tmp_path / "model.pt", data))
    assert len(checkpoint.code_references) == 1000
    assert "1,500" in checkpoint.warnings[0]


def test_a_hostile_reference_is_shown_escaped(tmp_path: Path) -> None:
    data = b"\x80\x02c" + "o\u202es\nsys\x1btem\n".encode() + b"."
    assert opened(torch_file(tmp_path / "model.pt", data)).code_references == ("o\\u202es.sys\\x1btem",)
