import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from qexplorer.engine.models import trust as room
from qexplorer.engine.models.trust import Untrusted, forget, require_trust, trust, trusted_bytes
from qexplorer.errors import UserError
from qexplorer.folders import data_folder


@pytest.fixture(autouse=True)
def store() -> Iterator[Path]:
    """Where it is written down; nothing is, before and after."""
    path = data_folder() / room.FILE
    path.unlink(missing_ok=True)
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text("print(1)")
    return path


def test_nothing_is_trusted_at_first(code: Path, store: Path) -> None:
    with pytest.raises(Untrusted) as caught:
        require_trust(code)
    assert caught.value.path == code.resolve()
    assert caught.value.fingerprint == hashlib.sha256(b"print(1)").hexdigest()
    assert caught.value.field == "model"
    assert not store.exists()


def test_the_question_says_what_is_at_stake(code: Path) -> None:
    with pytest.raises(Untrusted) as caught:
        require_trust(code)
    assert str(code.resolve()) in caught.value.what
    for words in (
        "Running model.py can do everything that you can do on this computer",
        "read, change and delete files",
        "use the network",
        "only if you wrote it or trust whoever did",
        "A change to the file asks again",
    ):
        assert words in caught.value.remedy


def test_what_was_allowed_is_remembered(code: Path) -> None:
    trust(code)
    require_trust(code)
    assert trusted_bytes(code) == b"print(1)"


def test_it_is_remembered_for_the_file_that_a_link_leads_to(code: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.py"
    link.symlink_to(code)
    trust(link)
    require_trust(code)
    (tmp_path / "copy.py").write_bytes(code.read_bytes())
    with pytest.raises(Untrusted):
        require_trust(tmp_path / "copy.py")


def test_a_change_asks_again_and_its_undoing_does_not(code: Path) -> None:
    trust(code)
    code.write_text("print(2)")
    with pytest.raises(Untrusted):
        require_trust(code)
    code.write_text("print(1)")
    require_trust(code)


def test_what_changed_since_the_question_is_not_allowed_by_the_answer(code: Path) -> None:
    with pytest.raises(Untrusted) as asked:
        require_trust(code)
    code.write_text("print(2)")
    with pytest.raises(Untrusted) as again:
        trust(code, asked.value.fingerprint)
    with pytest.raises(Untrusted):
        require_trust(code)
    trust(code, again.value.fingerprint)
    require_trust(code)


def test_it_can_be_forgotten(code: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text("")
    for path in (code, other):
        trust(path)
    forget(code)
    forget(tmp_path / "never.py")
    with pytest.raises(Untrusted):
        require_trust(code)
    require_trust(other)
    other.unlink()
    forget(other)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"version": 1}',
        b'{"version": 2, "trusted": {}}',
        b'{"version": 1, "trusted": []}',
        b'{"version": 1, "trusted": {"a": 3}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_trusts_nothing_and_is_set_aside(code: Path, store: Path, damage: bytes) -> None:
    trust(code)
    store.write_bytes(damage)
    with pytest.raises(Untrusted):
        require_trust(code)
    trust(code)
    require_trust(code)
    assert store.with_name("trusted.damaged.json").read_bytes() == damage


def test_a_word_in_place_of_a_list_is_not_taken_for_its_letters(code: Path, store: Path) -> None:
    store.write_text(json.dumps({"version": 1, "trusted": {str(code.resolve()): "abc"}}))
    with pytest.raises(Untrusted):
        require_trust(code)


def test_a_write_that_fails_leaves_what_was_there(code: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trust(code)
    code.write_text("print(2)")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="Free some space"):
        trust(code)
    code.write_text("print(1)")
    require_trust(code)
    assert [path.name for path in store.parent.glob(f"{room.FILE}*")] == [room.FILE]


def test_a_file_that_cannot_be_read_is_no_question_of_trust(tmp_path: Path) -> None:
    for call in (require_trust, trust):
        with pytest.raises(UserError, match=r"gone\.py cannot be read") as caught:
            call(tmp_path / "gone.py")
        assert not isinstance(caught.value, Untrusted)
        assert caught.value.field == "model"
