import errno
import json
import os
from pathlib import Path

import pytest

from qexplorer.errors import UserError
from qexplorer.quant.recipe import Recipe
from qexplorer.quant.spec import QuantSpec
from qexplorer.state.app_state import AppState
from qexplorer.state.session import VERSION, load_session, save_session

STATE = AppState(
    path="a.safetensors", tensor="w", recipe=Recipe.of_weights(QuantSpec.from_json({"format": "int3"})), theme="dark"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "session.json"


def files(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir())


def test_what_was_saved_is_loaded_and_no_other_file_is_left(path):
    save_session(path, AppState())
    save_session(path, STATE)
    assert load_session(path) == STATE
    assert files(path) == ["session.json"]


def test_where_there_is_no_file_there_is_no_session(path):
    assert load_session(path) is None


DAMAGED = {
    "empty": "",
    "cut off": '{"version": 1, "state": {"path": "a',
    "not json": "hello",
    "a list": "[]",
    "a number": "5",
    "null": "null",
    "no state": '{"version": 1}',
    "state is null": '{"version": 1, "state": null}',
    "state is a list": '{"version": 1, "state": []}',
    "wrong value": '{"version": 1, "state": {"path": 7}}',
    "other version": '{"version": 4, "state": {}}',
    "no version": '{"state": {}}',
    "deep": "[" * 100_000,
    "deep state": '{"version": 1, "state": {"spec": ' + '{"a":' * 50_000,
    "huge number": '{"version": 1, "state": {"path": 1' + "0" * 5000 + "}}",
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_file_that_is_no_session_is_refused_in_words(path, text):
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_session(path)
    assert "ession" in str(caught.value)
    assert path.read_text(encoding="utf-8") == text


def test_a_file_that_is_not_text_is_refused(path):
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match="cannot be read"):
        load_session(path)


def test_a_folder_in_the_place_of_the_file_is_refused(path):
    path.mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be read"):
        load_session(path)
    with pytest.raises(UserError, match="could not be saved"):
        save_session(path, STATE)
    assert files(path) == ["session.json"]


def test_a_full_disk_is_told_and_the_old_session_stays_whole(path, monkeypatch):
    save_session(path, AppState(tensor="old"))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device") as caught:
        save_session(path, STATE)
    assert caught.value.remedy
    assert load_session(path) == AppState(tensor="old")
    assert files(path) == ["session.json"]


def test_a_disk_that_fails_while_replacing_keeps_the_old_session(path, monkeypatch):
    save_session(path, AppState(tensor="old"))

    def denied(self: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "replace", denied)
    with pytest.raises(UserError, match="Permission denied"):
        save_session(path, STATE)
    assert load_session(path) == AppState(tensor="old")
    assert files(path) == ["session.json"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="could not be saved"):
        save_session(tmp_path / "file" / "session.json", STATE)


def test_the_file_is_json_that_a_person_can_read(path):
    save_session(path, STATE)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["version"] == VERSION
    assert document["state"]["recipe"]["default"]["weights"] == "int3"
    assert document["state"]["job"]["name"] == "ptq-static"
