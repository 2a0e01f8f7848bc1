import io
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from own_files import IMAGES, refused
from torch import nn

from qexplorer.engine.models import Model, find_model, models
from qexplorer.engine.models import trust as room
from qexplorer.engine.models.program import ProgramModel
from qexplorer.engine.models.trust import Untrusted, trust
from qexplorer.folders import data_folder
from qexplorer.progress import finish

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")


@pytest.fixture(autouse=True)
def nothing_trusted() -> Iterator[None]:
    path = data_folder() / room.FILE
    path.unlink(missing_ok=True)
    yield
    path.unlink(missing_ok=True)


class Net(nn.Module):
    """Convolutions with and without bias, batch norm, a shared layer, ReLU in place, a constant, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6, eps=1e-3), nn.ReLU(inplace=True),
            nn.Conv2d(6, 6, (3, 5), padding="same", dilation=2, groups=3), nn.BatchNorm2d(6, affine=False), nn.ReLU6(),
        )  # fmt: skip
        self.shared = nn.Conv2d(6, 6, 1)
        self.sequence = nn.Conv1d(6, 2, 2, padding="same")
        self.norm = nn.BatchNorm1d(2)
        self.drop = nn.Dropout(0.5)
        self.classifier = nn.Linear(32, 10)
        self.plain = nn.Parameter(torch.rand(10, 10))
        self.register_buffer("mask", torch.rand(10), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(module.running_mean)  # pyright: ignore[reportArgumentType]
                nn.init.uniform_(module.running_var, 0.5, 2)  # pyright: ignore[reportArgumentType]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.shared(self.shared(self.features(x)))
        x = self.norm(self.sequence(x.flatten(2))).flatten(1)
        return nn.functional.linear(self.classifier(self.drop(x)) * self.mask, self.plain) + torch.ones(10)


DYNAMIC = ({0: torch.export.Dim.DYNAMIC},)


def exported(net: nn.Module, x: torch.Tensor = IMAGES, dynamic: object = DYNAMIC) -> torch.export.ExportedProgram:
    return torch.export.export(net.eval(), (x,), dynamic_shapes=dynamic)  # pyright: ignore[reportArgumentType]


def program(tmp_path: Path, content: torch.export.ExportedProgram, *, trusted: bool = True) -> Model:
    path = tmp_path / "net.pt2"
    torch.export.save(content, path)
    if trusted:
        trust(path)
    return find_model(str(path))


def check_same(net: nn.Module, other: nn.Module, shape: tuple[int, ...]) -> None:
    for n in (1, 2, 7):
        x = torch.rand((n, *shape))
        with torch.inference_mode():
            torch.testing.assert_close(net(x), other(x))


def layers(net: nn.Module) -> dict[str, type[nn.Module]]:
    graph = net.graph  # pyright: ignore[reportAttributeAccessIssue]
    return {node.target: type(net.get_submodule(node.target)) for node in graph.nodes if node.op == "call_module"}


def test_an_exported_program_is_a_graph_of_layers_with_the_same_outputs(tmp_path: Path) -> None:
    net = Net()
    made = exported(net)
    model = program(tmp_path, made)
    assert isinstance(model, ProgramModel)
    assert model.text == str(tmp_path / "net.pt2")
    assert model.code_files() == (tmp_path / "net.pt2",)
    assert model.resolve(None) is None
    opened = finish(model.load(None))
    assert isinstance(opened, torch.fx.GraphModule)
    assert not opened.training
    check_same(made.module(check_guards=False), opened, (1, 8, 8))
    check_same(net, opened, (1, 8, 8))
    assert layers(opened) == {
        "features.0": nn.Conv2d,
        "features.1": nn.BatchNorm2d,
        "features.3": nn.Conv2d,
        "features.4": nn.BatchNorm2d,
        "shared": nn.Conv2d,
        "sequence": nn.Conv1d,
        "norm": nn.BatchNorm1d,
        "classifier": nn.Linear,
    }
    assert opened.get_submodule("features.3").padding == (2, 4)
    assert opened.get_submodule("sequence").padding == "same"
    assert opened.state_dict().keys() == net.state_dict().keys()
    left = {str(node.target) for node in opened.graph.nodes if node.op == "call_function"}
    assert {"aten.relu_.default", "aten.hardtanh.default", "aten.dropout.default", "aten.linear.default"} <= left


def test_it_can_be_traced_again(tmp_path: Path) -> None:
    opened = finish(program(tmp_path, exported(Net())).load(None))
    check_same(opened, torch.fx.symbolic_trace(opened), (1, 8, 8))


def test_an_exported_vision_transformer_has_its_layers(tmp_path: Path) -> None:
    net = finish(models["vit_digits"]().load(None))
    opened = finish(program(tmp_path, exported(net, torch.rand(2, 1, 32, 32))).load(None))
    check_same(net, opened, (1, 32, 32))
    kinds = list(layers(opened).values())
    assert kinds.count(nn.Linear) == 4 * 4 + 1
    assert kinds.count(nn.Conv2d) == 1
    assert opened.state_dict().keys() == net.state_dict().keys()


def test_a_program_that_was_taken_apart_has_its_layers_too(tmp_path: Path) -> None:
    net = Net()
    with warnings.catch_warnings():  # torch's own, of itself
        warnings.simplefilter("ignore")
        apart = exported(net).run_decompositions()
    opened = finish(program(tmp_path, apart).load(None))
    check_same(net, opened, (1, 8, 8))
    names = set(layers(opened))
    assert {"features.0", "features.1", "features.3", "features.4", "shared", "norm", "classifier"} <= names
    left = {str(node.target) for node in opened.graph.nodes if node.op == "call_function"}
    assert "aten._native_batch_norm_legit_no_training.default" not in left
    assert "aten.addmm.default" not in left


def test_a_program_that_is_one_layer_has_a_layer(tmp_path: Path) -> None:
    net = nn.Linear(4, 3)
    opened = finish(program(tmp_path, exported(net, torch.rand(2, 4))).load(None))
    check_same(net, opened, (4,))
    assert layers(opened) == {"linear": nn.Linear}
    torch.save(nn.Linear(4, 3).state_dict(), tmp_path / "other.pt")
    other = finish(find_model(str(tmp_path / "net.pt2")).load(tmp_path / "other.pt"))
    assert torch.equal(other.get_submodule("linear").weight, torch.load(tmp_path / "other.pt")["weight"])


class Shift(nn.Linear):
    """A layer with a tensor more than such layers have."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.shift = nn.Parameter(torch.rand(4))

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  torch's own name
        return super().forward(input) + self.shift


class Apart(nn.Linear):
    """One whose bias is added by itself."""

    def __init__(self) -> None:
        super().__init__(4, 4)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  torch's own name
        return nn.functional.linear(input, self.weight) + self.bias


class Tied(nn.Module):
    """Two layers, one of which takes its weight from the other."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.b.weight = self.a.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x))


class Two(nn.Module):
    """One layer used as two different ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        conv = nn.functional.conv2d
        return conv(x, self.conv.weight, self.conv.bias, dilation=2) + self.conv(x)[:, :, 1:-1, 1:-1]


@pytest.mark.parametrize("make", [Shift, Apart, Tied, Two, lambda: nn.BatchNorm1d(4, track_running_stats=False)])
def test_what_is_no_usual_layer_computes_the_same(tmp_path: Path, make: Callable[[], nn.Module]) -> None:
    net = make()
    shape = (1, 8, 8) if isinstance(net, Two) else (4,)
    opened = finish(program(tmp_path, exported(net, torch.rand(2, *shape))).load(None))
    x = torch.rand(5, *shape)
    torch.testing.assert_close(net(x), opened(x))


def test_weights_from_a_file_replace_those_of_a_program(tmp_path: Path) -> None:
    other = Net()
    torch.save({f"module.{k}": v for k, v in other.state_dict().items()}, tmp_path / "other.pt")
    net = Net()
    other.mask = net.mask
    opened = finish(program(tmp_path, exported(net)).load(tmp_path / "other.pt"))
    check_same(other.eval(), opened, (1, 8, 8))


def test_a_program_is_not_opened_before_it_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = program(tmp_path, exported(nn.Linear(4, 3), torch.rand(2, 4)), trusted=False)

    def load(*_: object) -> None:
        raise AssertionError("it is opened")

    monkeypatch.setattr(torch.export, "load", load)
    for ask in (model.check_trust, lambda: finish(model.load(None))):
        with pytest.raises(Untrusted) as caught:
            ask()
    monkeypatch.undo()
    trust(caught.value.path, caught.value.fingerprint)
    finish(model.load(None))


def test_a_program_for_one_batch_size_says_how_to_export_it(tmp_path: Path) -> None:
    error = refused(program(tmp_path, exported(Net(), dynamic=None)))
    assert "net.pt2 takes batches of 3 only" in error.what
    assert "dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)" in error.remedy


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x + 1, x + 2


class Half(nn.Linear):
    """Computes in half precision inside."""

    def __init__(self) -> None:
        super().__init__(8, 8, dtype=torch.float16)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  torch's own name
        return super().forward(input.half()).float()


@pytest.mark.parametrize(
    ("make", "x", "message"),
    [
        (Pair, IMAGES, "has 1 inputs and 2 outputs"),
        (nn.Flatten, IMAGES.to(torch.int64), "takes int64 [s"),
        (nn.Flatten, IMAGES.double(), "takes float64 [s"),
        (Half, IMAGES, "has parameters of float16; call model.float() before the export"),
    ],
)
def test_a_program_that_is_no_classifier_of_images_is_refused(
    tmp_path: Path, make: Callable[[], nn.Module], x: torch.Tensor, message: str
) -> None:
    assert message in refused(program(tmp_path, exported(make(), x))).what


@pytest.mark.parametrize("make", [Net, lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.1))])
def test_a_program_in_training_mode_is_refused(tmp_path: Path, make: Callable[[], nn.Module]) -> None:
    content = torch.export.export(make().train(), (IMAGES,), dynamic_shapes=DYNAMIC)
    error = refused(program(tmp_path, content))
    assert "exported in training mode" in error.what
    assert "model.eval()" in error.remedy


def an_empty_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x", "y")
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"no archive", an_empty_archive()])
def test_a_file_that_is_no_program_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(content)
    trust(path)
    assert "net.pt2 cannot be opened as an exported program: " in refused(find_model(str(path))).what
