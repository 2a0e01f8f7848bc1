"""What does not become int8 in a row of real kernels, and what of the settings does not reach it, is said there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from qexplorer.engine.backends import BACKEND, supported_engines
from qexplorer.engine.jobs import jobs
from qexplorer.engine.models.trust import trust
from qexplorer.engine.runs.results import RunResult
from qexplorer.errors import UserError
from qexplorer.progress import finish
from tests.few_digits import few_digits

pytestmark = [
    pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning"),  # torch's own, on quantized tensors
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning"),
]
BETWEEN = " What an int8 layer hands them was rounded to 8 bits."
SMALL: dict[str, Any] = {"limit": 16, "threads": 1, "timing": "off"}
SOURCE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, middle, reads=1, picks=True):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(32, 16), middle, nn.Linear(16, 10)
        self.norm, self.bend, self.reads, self.picks = nn.LayerNorm((32, 16)), nn.PReLU(32), reads, picks

    def forward(self, x):
        x = self.middle(*[self.first(x[:, 0])] * self.reads)
        return self.last(self.bend(self.norm(x[0] if self.picks else x))[:, -1])


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.last = nn.Embedding(32, 8), nn.Linear(8, 10)

    def forward(self, x):
        return self.last(self.words((x.flatten(1) * 7).long().clamp(0, 31)).mean(1))


class Raising(Words):
    def forward(self, x):
        assert x.shape[-1] == 48, "image size must be 48"


class Asking(Words):
    def forward(self, x):
        return {}["logits"]


def recurrent():
    return Net(nn.GRU(16, 16, batch_first=True))


def remembering():
    return Net(nn.LSTM(16, 16, batch_first=True))


def attending():
    return Net(nn.MultiheadAttention(16, 2, batch_first=True), reads=3)


def encoding():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    return Net(nn.TransformerEncoder(layer, 1), picks=False)


def norm():
    return nn.Sequential(nn.BatchNorm2d(1), nn.Flatten())


def convolving():
    return nn.Sequential(nn.Conv2d(1, 4, 3, 4), nn.Flatten(), nn.Linear(256, 16), nn.ReLU(), nn.Linear(16, 10))
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    file = tmp_path_factory.mktemp("kept") / "own.py"
    file.write_text(SOURCE)

    def named(factory: str) -> str:
        trust(file)
        return f"{file}:{factory}"

    return named


def run(job: str, model: str, **settings: Any) -> RunResult:
    sized: dict[str, Any] = {} if job == "evaluate" else {"calibration": 16}
    given = {"model": model, "data": few_digits(), **SMALL, **sized, **settings}
    return finish(jobs[job](**given).run())


# what stays float32


@pytest.mark.parametrize(
    ("factory", "static", "dynamic"),
    [
        ("recurrent", "middle", "middle"),
        ("remembering", "middle", ""),
        ("attending", "middle, middle.out_proj", "middle, middle.out_proj"),
        ("convolving", "", "0"),
    ],
)
def test_what_stays_float_is_named(own: Callable[[str], str], factory: str, static: str, dynamic: str) -> None:
    row = run("ptq-static", own(factory), preset="pytorch_default").rows[1]
    assert row.note == (f"Stayed float32: {static}.{BETWEEN}" if static else "")
    row = run("ptq-dynamic", own(factory)).rows[1]
    assert row.note == (f"Stayed float32: {dynamic}." if dynamic else "")


def test_a_weight_of_no_layer_goes_by_its_own_name() -> None:
    result = run("ptq-dynamic", "vit_digits")
    assert result.rows[1].note == "Stayed float32: positions, patches."


@pytest.mark.parametrize("job", ["ptq-static", "parity"])
def test_a_model_of_which_nothing_would_be_int8_is_refused(own: Callable[[str], str], job: str) -> None:
    with pytest.raises(UserError, match="no layer that int8 kernels compute") as caught:
        run(job, own("norm"))
    assert caught.value.field == "model"


@pytest.mark.skipif("qnnpack" not in supported_engines(), reason="this torch has no QNNPACK")
def test_weights_that_cannot_be_read_back_are_refused() -> None:
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "qnnpack"
    try:
        with pytest.raises(UserError, match="cannot be converted to int8 kernels: QNNPACK only supports"):
            finish(BACKEND().quantize(nn.Sequential(nn.Conv3d(1, 2, 2)), "x86", [torch.rand(2, 1, 4, 4, 4).numpy()]))
    finally:
        torch.backends.quantized.engine = before


@pytest.mark.parametrize(("job", "settings", "word"), [
    ("parity", {"preset": "x86"}, "calibrated for"),
    ("ptq-static", {"preset": "pytorch_default"}, "converted to"),
])  # fmt: skip
def test_a_refusal_is_one_line(own: Callable[[str], str], job: str, settings: dict[str, str], word: str,
                               capfd: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    with pytest.raises(UserError, match=f"cannot be {word} int8 kernels.*PTQ static with the preset “none”"):
        run(job, own("Words"), **settings)
    assert "traced Module" not in capfd.readouterr().err


# repairs


def test_repairs_of_the_float_model_reach_the_kernels_and_others_are_named(own: Callable[[str], str]) -> None:
    model, names = own("convolving"), ("fold", "fold,cle", "fold,cle,bias_correction,adaround:20")
    plain, equalized, more = (run("ptq-static", model, preset="x86", repairs=repairs) for repairs in names)
    figures = [[layer.weight_sqnr_db for layer in result.layers] for result in (plain, equalized, more)]
    assert figures[0][1:] != figures[1][1:] == figures[2][1:]  # the ReLU stands between the linear layers
    assert [result.rows[1].note for result in (plain, equalized)] == ["", ""]
    assert more.rows[1].note == "Repairs that int8 kernels do not get: adaround:20, bias_correction."


# dynamic quantization


def test_a_layer_that_is_to_stay_float_does_so_in_both_rows(own: Callable[[str], str]) -> None:
    result = run("ptq-dynamic", own("convolving"), overrides="4=float")
    assert [layer.name for layer in result.layers if layer.row == "dynamic_int8"] == ["2"]
    twin = {layer.name: layer.spec for layer in result.layers if layer.row == "per_token"}
    assert [name for name, spec in twin.items() if spec == "float"] == ["0", "4"]
    assert result.rows[1].note == "Stayed float32: 0, 4."
    with pytest.raises(UserError, match="Every Linear layer stays float: nothing is left"):
        run("ptq-dynamic", own("convolving"), overrides="*=float")


def test_an_override_that_no_dynamic_kernel_has_is_said(own: Callable[[str], str]) -> None:
    result = run("ptq-dynamic", own("convolving"), overrides="4=int4")
    twin = {layer.name: layer.spec for layer in result.layers if layer.row == "per_token"}
    assert twin["4"].startswith("int4 /")
    assert result.rows[1].note == "Stayed float32: 0. Overrides of the simulation alone: 4."


def test_an_override_of_what_is_not_quantized_dynamically_is_refused(own: Callable[[str], str]) -> None:
    with pytest.raises(UserError, match=r"0 cannot be “int4 .*only Linear and LSTM layers") as caught:
        run("ptq-dynamic", own("convolving"), overrides="0=int4")
    assert caught.value.field == "overrides"


# torch's own encoders, and exported programs


def test_encoders_are_quantized_dynamically_and_trained(own: Callable[[str], str]) -> None:
    result = run("ptq-dynamic", own("encoding"))
    names = [layer.name for layer in result.layers if layer.row == "dynamic_int8"]
    assert names == ["first", "middle.layers.0.linear1", "middle.layers.0.linear2", "last"]
    specs = {"weight_spec": "int8 channel:0", "activation_spec": "uint8 affine"}
    assert run("qat", own("encoding"), epochs=1, **specs).rows[1].n == 16


def test_encoders_of_padded_sequences_are_quantized_dynamically() -> None:
    coder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2).eval()
    x, beyond = torch.rand(2, 5, 16), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    with torch.inference_mode():
        found = BACKEND().quantize_dynamic(coder).module(x, src_key_padding_mask=beyond)
        wanted = coder(x, src_key_padding_mask=beyond)
    assert torch.allclose(found[~beyond], wanted[~beyond], atol=0.1)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.mix = nn.Linear(32, 16), nn.MultiheadAttention(16, 2, batch_first=True)
        self.last = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x.reshape(x.shape[0], 32, 32))
        return self.last(self.mix(x, x, x)[0].mean(1))


def test_an_exported_attention_model_becomes_int8(tmp_path: Path) -> None:
    file = tmp_path / "attending.pt2"
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(Attending().eval(), (torch.rand(2, 1, 32, 32),), dynamic_shapes=shapes), file)
    trust(file)
    result = run("ptq-static", str(file))
    assert [row.kind for row in result.rows] == ["REAL", "REAL", "REAL"]
    for row in result.rows[1:]:
        assert row.note == f"Stayed float32: mix.{BETWEEN}"  # its first weight belongs to no layer


# a person's own forward


@pytest.mark.parametrize(
    ("factory", "reason"),
    [("Raising", "Raising, .*AssertionError: image size must be 48"), ("Asking", "Asking, .*KeyError: 'logits'")],
)
def test_what_a_forward_raises_is_said(own: Callable[[str], str], factory: str, reason: str) -> None:
    with pytest.raises(UserError, match=f"The model, {reason}"):
        run("evaluate", own(factory))
