"""What a job says beside its figures: what stays float, how many samples decided something, what it does not take."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from qexplorer.engine.jobs import jobs
from qexplorer.engine.jobs.record import recorded
from qexplorer.engine.models.trust import trust
from qexplorer.engine.runs.history import History
from qexplorer.engine.runs.results import RunResult
from qexplorer.errors import UserError
from qexplorer.progress import finish

SMALL: dict[str, Any] = {"model": "vit_digits", "limit": 24, "threads": 1, "timing": "off"}
RECURRENT = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(16, 8)
        self.rnn = torch.nn.GRU(8, 8, batch_first=True)
        self.head = torch.nn.Linear(8, 10)
    def forward(self, x):
        y, _ = self.rnn(self.embedding((x[:, 0, :2].flatten(1) * 15).long()))
        return self.head(y[:, -1])
"""
BRANCHES = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(1024, 10)
    def forward(self, x):
        return self.head(x.flatten(1) if x.sum() > 0 else -x.flatten(1))
"""
NO_LAYERS = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(1)
    def forward(self, x):
        return self.norm(x).flatten(1)[:, :10]
"""


def run(job: str, **settings: Any) -> RunResult:
    return finish(jobs[job](**{**SMALL, **settings}).run())


def own(folder: Path, source: str) -> str:
    file = folder / "net.py"
    file.write_text(source)
    trust(file)
    return f"{file}:Net"


def test_weights_that_stay_float_are_named_with_their_share(tmp_path: Path) -> None:
    note = run("weight-only", model=own(tmp_path, RECURRENT), weight_spec="int4").rows[1].note
    values = {"embedding": 16 * 8, "rnn": 2 * 24 * 8, "rest": 8 * 10 + 10 + 2 * 24}
    share = (values["embedding"] + values["rnn"]) / sum(values.values())
    assert f"{share:.1%}" in note
    assert "embedding.weight, rnn.weight_ih_l0, rnn.weight_hh_l0" in note


@pytest.mark.parametrize(
    ("job", "settings"),
    [
        ("cast", {"to": "fp8_e4m3fn", "keep": ""}),
        ("convergence", {"calibration": 8}),
        ("sensitivity", {}),
        ("bit-budget", {"checked": 0, "calibration": 8}),
        ("weight-only", {}),
    ],
)
def test_every_simulation_says_that_it_does_not_trace_and_what_its_file_holds(
    tmp_path: Path, job: str, settings: dict[str, Any]
) -> None:
    note = run(job, model=own(tmp_path, BRANCHES), **settings).rows[1].note
    assert "cannot be traced" in note
    assert "float32 stand-ins" in note


@pytest.mark.parametrize("job", ["weight-only", "cast", "qat", "sensitivity", "bit-budget", "repair", "convergence"])
def test_a_model_without_layers_is_refused(tmp_path: Path, job: str) -> None:
    with pytest.raises(UserError, match="no layer that could be quantized") as caught:
        run(job, model=own(tmp_path, NO_LAYERS))
    assert caught.value.field == "model"


@pytest.mark.parametrize(
    ("job", "settings", "n", "remark"),
    [
        ("weight-only", {}, 0, False),
        ("weight-only", {"repairs": "fold,gptq"}, 256, False),
        ("weight-only", {"repairs": "fold,smooth_quant:0.5"}, 320, False),
        ("weight-only", {"overrides": "head=int8 / uint8 affine"}, 320, False),
        ("ptq-static", {"preset": "none", "activation_spec": "uint8 affine"}, 320, False),
        ("ptq-static", {"preset": "none", "activation_spec": "uint8", "repairs": "fold,bias_correction"}, 320, True),
        ("sensitivity", {}, 0, False),
        ("sensitivity", {"activation_spec": "uint8 affine"}, 320, False),
        ("cast", {"to": "bf16"}, 0, False),
        ("cast", {"to": "fp8_e4m3fn", "activation_spec": "fp8_e4m3fn"}, 320, False),
        ("cast", {"to": "bf16", "keep": "auto:1"}, 64, False),
    ],
)
def test_samples_are_counted_that_decided_something(job: str, settings: dict[str, Any], n: int, remark: bool) -> None:
    result = run(job, calibration=320, **settings)
    assert result.data.calibration_n == n
    assert ("the first 256 calibration samples" in result.rows[-1].note) == remark


@pytest.mark.parametrize("more", [{"activation_spec": "int3"}, {"repairs": "fold,cle,gptq"}])
def test_a_cast_refuses_what_it_would_not_do(more: dict[str, str]) -> None:
    with pytest.raises(UserError, match="Choose one of"):
        jobs["cast"](**SMALL, **more)


def test_weights_that_code_fetches_itself_belong_to_the_fingerprint(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    source = f"""
import torch
from safetensors.torch import load_file
def Net():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1024, 10))
    net.load_state_dict(load_file({str(file)!r}))
    return net
"""
    model, history = own(tmp_path, source), History(tmp_path / "history.sqlite3")
    found: list[str] = []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        save_file(nn.Sequential(nn.Flatten(), nn.Linear(1024, 10)).state_dict(), file)
        job = jobs["evaluate"](**{**SMALL, "model": model})
        found.append(finish(recorded(job, history)).model.sha256)
    assert found[0] == found[2] != found[1]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_an_encoder_whose_inputs_are_padded_is_simulated(tmp_path: Path) -> None:
    source = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(32, 2, 16, batch_first=True), 1)
        self.head = torch.nn.Linear(32, 10)
    def forward(self, x):
        padded = torch.arange(32).expand(len(x), 32) > 29
        return self.head(self.encoder(x[:, 0], src_key_padding_mask=padded)[:, :30].mean(1))
"""
    model = own(tmp_path, source)
    settings = {"model": model, "preset": "none", "activation_spec": "uint8 affine", "calibration": 8}
    assert run("ptq-static", **settings).rows[1].kind == "SIMULATED"
    assert run("qat", model=model, epochs=1, batch=512, weight_spec="int8").rows[1].kind == "SIMULATED"
