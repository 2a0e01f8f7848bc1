import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from own_files import IMAGES, refused

from qexplorer.engine.models import Model, find_model
from qexplorer.engine.models import trust as room
from qexplorer.engine.models.own import OwnModel
from qexplorer.engine.models.trust import Untrusted, trust
from qexplorer.errors import UserError
from qexplorer.folders import data_folder
from qexplorer.progress import finish


@pytest.fixture(autouse=True)
def nothing_trusted() -> Iterator[None]:
    path = data_folder() / room.FILE
    path.unlink(missing_ok=True)
    yield
    path.unlink(missing_ok=True)


SOURCE = """
import torch
from torch import nn

def make():
    torch.manual_seed(5)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)).double()
"""


def own(tmp_path: Path, source: str = SOURCE, factory: str = "make") -> Model:
    """The model that a trusted file makes."""
    path = tmp_path / "mine.py"
    path.write_text(source)
    trust(path)
    return find_model(f"{path}:{factory}")


def test_a_function_in_a_file_makes_a_model(tmp_path: Path) -> None:
    model = own(tmp_path)
    assert isinstance(model, OwnModel)
    assert model.text == f"{tmp_path / 'mine.py'}:make"
    assert find_model(model.text) == model
    assert model.code_files() == (tmp_path / "mine.py",)
    assert model.resolve(None) is None
    net = finish(model.load(None))
    assert not net.training
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert net(IMAGES).shape == (3, 10)


def test_random_numbers_and_the_path_of_imports_stay_as_they_are(tmp_path: Path) -> None:
    before, path = torch.random.get_rng_state(), list(sys.path)
    finish(own(tmp_path).load(None))
    assert torch.equal(before, torch.random.get_rng_state())
    assert sys.path == path


def test_what_it_prints_is_no_output_of_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish(own(tmp_path, "print('hello')\n" + SOURCE).load(None))
    assert capsys.readouterr().out == ""


def test_nothing_is_run_before_it_is_allowed(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = tmp_path / "mine.py"
    path.write_text(f"open({str(mark)!r}, 'w').close()\n{SOURCE}")
    model = find_model(f"{path}:make")
    for ask in (model.check_trust, lambda: finish(model.load(None))):
        with pytest.raises(Untrusted) as caught:
            ask()
    assert not mark.exists()
    trust(caught.value.path, caught.value.fingerprint)
    model.check_trust()
    finish(model.load(None))
    assert mark.exists()
    path.write_text(SOURCE)
    with pytest.raises(Untrusted):
        finish(model.load(None))


def test_a_compiled_copy_beside_the_file_is_not_run(tmp_path: Path) -> None:
    import importlib.util
    import os
    import py_compile

    path = tmp_path / "mine.py"
    path.write_text(SOURCE.replace("10", "77"))
    times = path.stat()
    py_compile.compile(str(path), importlib.util.cache_from_source(str(path)))
    model = own(tmp_path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert finish(model.load(None))(IMAGES).shape == (3, 10)


def test_it_may_import_what_lies_beside_it_and_each_model_its_own(tmp_path: Path) -> None:
    source = "from torch import nn\nfrom parts.layer import OUT\ndef make():\n    return nn.Linear(2, OUT)\n"
    for out in (3, 4):
        folder = tmp_path / str(out)
        (folder / "parts").mkdir(parents=True)
        (folder / "parts" / "layer.py").write_text(f"OUT = {out}\n")
        assert finish(own(folder, source).load(None))(torch.ones(1, 2)).shape == (1, out)
    assert not {"parts", "parts.layer"} & sys.modules.keys()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def make():\n    return 1 / 0\n", "mine.py:make failed: line 2, ZeroDivisionError: division by zero."),
        ("import no_such_thing\n", "mine.py:make failed: line 1, ModuleNotFoundError: No module named 'no_such_thing'"),
        ("def make(:\n", "mine.py:make failed: SyntaxError: invalid syntax"),
        ("raise SystemExit(3)\n", "mine.py:make failed: line 1, SystemExit: 3."),
        ("def make():\n    raise ValueError('a\\nb\\x1b[2J')\n", "failed: line 2, ValueError: a b\\x1b[2J."),
        ("def make():\n    assert False\n", "mine.py:make failed: line 2, AssertionError."),
        ("def make(n):\n    pass\n", "mine.py:make failed: TypeError: make() missing 1 required"),
        ("def make():\n    return {}\n", "mine.py:make returned dict, no torch.nn.Module."),
        (
            "from torch import nn\ndef make():\n    return nn.LazyLinear(3)\n",
            "mine.py:make returned a module whose lazy layers have no shape yet.",
        ),
        ("def other():\n    pass\n", "mine.py has no function “make”. It has: other."),
        ("make = 3\n", "mine.py has no function “make”. It has: none."),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_a_mistake_in_the_file_is_said_in_one_line(tmp_path: Path, source: str, message: str) -> None:
    assert message in str(refused(own(tmp_path, source)))


def test_a_file_that_failed_can_be_mended(tmp_path: Path) -> None:
    known = set(sys.modules)
    refused(own(tmp_path, "raise ValueError"))
    assert not {name for name in sys.modules.keys() - known if "own" in name}
    assert finish(own(tmp_path).load(None))(IMAGES).shape == (3, 10)


@pytest.mark.parametrize("text", ["mine.py", "mine.py:", "mine.py:a b", "mine.py:make()", "C:\\models\\mine.py"])
def test_without_a_function_it_says_what_to_write(text: str) -> None:
    with pytest.raises(UserError, match=r"does not name a function .*FILE\.py:FACTORY") as caught:
        find_model(text)
    assert caught.value.field == "model"


@pytest.mark.parametrize("text", ["nothing.py:make", "nothing.pt2", "~nobody-of-that-name/a.pt2", "a\0.pt2"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="There is no file") as caught:
        find_model(text)
    assert caught.value.field == "model"
    assert str(caught.value).isprintable()


def test_weights_from_a_file_replace_its_own(tmp_path: Path) -> None:
    model = own(tmp_path)
    state = {f"module.{k}": torch.zeros_like(v) for k, v in finish(model.load(None)).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "weights.pt")
    net = finish(model.load(tmp_path / "weights.pt"))
    assert all(not p.any() for p in net.parameters())
    torch.save({}, tmp_path / "none.pt")
    with pytest.raises(UserError, match=r"lacks 8 tensors \(0\.bias, .*Choose weights of .*mine\.py:make") as caught:
        finish(model.load(tmp_path / "none.pt"))
    assert caught.value.field == "weights"
    with pytest.raises(UserError, match="There is no file"):
        finish(model.load(tmp_path / "gone.pt"))
