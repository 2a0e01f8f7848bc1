"""Saying in one line what a file is that cannot be opened."""

from pathlib import Path

from qexplorer.text import printable
from qexplorer.weights import limits
from qexplorer.weights.checkpoint import FormatError

_CONVERT = "Convert it to safetensors with the program that made it."
_RESAVE = "Load it in PyTorch, where you trust it, and save it again: PyTorch 1.6 and later write a readable file."
_PICKLE = "A pickle is a program, and it is not run. Save the weights as safetensors instead."
_WEIGHTS = ""
"""Stands for what can be opened instead."""

_UNFINISHED = {".part", ".partial", ".incomplete", ".crdownload", ".download", ".aria2", ".!ut"}

_MAGIC: tuple[tuple[int, bytes, str, str, str], ...] = (
    (0, b"version https://git-lfs", "GitLfsPointer", "a Git-LFS pointer, not the weights",
     "Run `git lfs pull` in its repository."),
    (0, b"GGUF", "GgufFile", "a GGUF file, which cannot be opened yet", _CONVERT),
    (0, b"lmgg", "GgufFile", "an old GGML file, which cannot be opened", _CONVERT),
    (0, b"tjgg", "GgufFile", "an old GGML file, which cannot be opened", _CONVERT),
    (0, b"\x89HDF\r\n\x1a\n", "Hdf5File", "an HDF5 file (Keras .h5?), which cannot be opened yet", _CONVERT),
    (4, b"TFL3", "TfliteFile", "a TensorFlow Lite file, which cannot be opened yet", _CONVERT),
    (4, b"ET1", "ExecutorchFile", "an ExecuTorch program, which cannot be opened", _CONVERT),
    (0, b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19", "LegacyTorch", "a PyTorch file from before version 1.6", _RESAVE),
    (257, b"ustar", "TarArchive", "a tar archive (.nemo?)", "Unpack it, then open the weights in it."),
    (0, b"\x1f\x8b", "CompressedFile", "a gzip file", "Unpack it, then open what was in it."),
    (0, b"BZh", "CompressedFile", "a bzip2 file", "Unpack it, then open what was in it."),
    (0, b"\xfd7zXZ\x00", "CompressedFile", "an xz file", "Unpack it, then open what was in it."),
    (0, b"\x28\xb5\x2f\xfd", "CompressedFile", "a zstd file", "Unpack it, then open what was in it."),
    (0, b"7z\xbc\xaf\x27\x1c", "CompressedFile", "a 7-Zip archive", "Unpack it, then open what was in it."),
    (0, b"Rar!\x1a\x07", "CompressedFile", "a RAR archive", "Unpack it, then open what was in it."),
    (0, b"\x89PNG\r\n", "Picture", "a picture (PNG)", _WEIGHTS),
    (0, b"\xff\xd8\xff", "Picture", "a picture (JPEG)", _WEIGHTS),
    (0, b"%PDF-", "Document", "a PDF document", _WEIGHTS),
    (0, b"\x7fELF", "Program", "a program or library", _WEIGHTS),
    (0, b"MZ", "Program", "a program or library", _WEIGHTS),
    (0, b"SQLite format 3\x00", "Database", "an SQLite database", _WEIGHTS),
)  # fmt: skip


def refuse_unfinished(path: Path, size: int) -> None:
    """Raise a `FormatError` for a file that cannot be whole: empty, a download that has not ended, a few bytes."""
    where = printable(path.name)
    if size == 0:
        raise FormatError("EmptyFile", where, "it is empty.", "Fetch it again.")
    if path.suffix.lower() in _UNFINISHED:
        what = f"it is a download that has not ended ({path.suffix})."
        raise FormatError("UnfinishedDownload", where, what, "Let the download end, then open the whole file.")
    if size < limits.SHORTEST_FILE:
        what = f"it holds {size} bytes; no weight file is that short."
        raise FormatError("Truncated", where, what, "The file is incomplete. Download it again.")


def refusal(path: Path, head: bytes, instead: str) -> FormatError:
    """The error that says what kind of file or folder it is, as far as its first bytes tell; `instead` is the remedy
    for what holds no weights at all.
    """
    kind, what, remedy = _recognised(path, head)
    return FormatError(kind, printable(path.name), f"it is {what}.", remedy or instead)


def _recognised(path: Path, head: bytes) -> tuple[str, str, str]:
    if not head:
        return "NoWeights", "a folder without weight files", "Choose a folder with .safetensors or .bin files."
    for at, magic, kind, what, remedy in _MAGIC:
        if head.startswith(magic, at):
            return kind, what, remedy
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(head)
    if _is_pickle(head):
        return "PlainPickle", "a Python pickle (.pkl, .joblib), which is a program", _PICKLE
    if head[0] == 8 and 1 <= head[1] <= 30 and (path.suffix.lower() == ".onnx" or head[2] in b"\x12\x1a\x3a\x42"):
        return "OnnxFile", "an ONNX model, which cannot be opened yet", _CONVERT
    return _text_kind(head)


def _text_kind(head: bytes) -> tuple[str, str, str]:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "WebPage", "a web page (a log-in or error page?), not the weights", "Fetch the file again."
    if text.startswith((b"{", b"[")):
        return "JsonFile", "a JSON file, not the weights", "Open the weight file, or the folder that holds both."
    if text.startswith(b"<?xml"):
        return "XmlFile", "an XML file (OpenVINO?), which cannot be opened", _CONVERT
    if all(byte >= 0x20 or byte in b"\t\r\n\f" for byte in head):
        return "TextFile", "a text file, not the weights", _WEIGHTS
    return "UnknownFormat", "not a kind of weight file that is known", _WEIGHTS


def _is_pickle(head: bytes) -> bool:
    """Whether it begins as a pickle does: a protocol mark, or a first instruction of protocol 0."""
    return (head[0] == 0x80 and head[1] <= 5) or head.startswith((b"(dp", b"(lp", b"ccopy_reg\n", b"cos\n"))


def _zip_kind(head: bytes) -> tuple[str, str, str]:
    if head.startswith(b"PK\x05\x06"):
        return "NoWeights", "an empty zip archive", _WEIGHTS
    if b"model.weights.h5" in head or b"metadata.json" in head:
        return "KerasFile", "a Keras archive (.keras), which cannot be opened yet", _CONVERT
    if b"archive_format" in head or b"models/model.json" in head:
        return "ExportedProgram", "an exported PyTorch program (.pt2), which cannot be opened yet", _CONVERT
    return "ZipArchive", "a zip archive without tensors", _WEIGHTS
