"""A model made ready: what is folded and what is not, what works in place no longer, and running it in pieces."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it
from torch.nn.utils import parametrizations

from qexplorer.engine.models import models
from qexplorer.engine.simulation.layers import QuantizeInput, quantize_input, weight_quantizer
from qexplorer.engine.simulation.prepared import Prepared, is_layer, layer_nodes, prepare
from qexplorer.engine.simulation.stages import Stages
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads take longer for small nets where something else runs beside them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def settled(net: nn.Module, seed: int = 0) -> nn.Module:
    """The net in eval mode, with norms that do something."""
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=chance) * 0.4)
        for module in net.modules():
            if isinstance(module, NORMS) and module.running_mean is not None and module.running_var is not None:
                module.running_mean.copy_(torch.randn(module.num_features, generator=chance))
                module.running_var.copy_(torch.rand(module.num_features, generator=chance) + 0.3)
    return net.eval()


def images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def outputs(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return module(x.clone())


def same(found: nn.Module, wanted: nn.Module, x: Tensor, tolerance: float = 1e-5) -> bool:
    a, b = outputs(found, x), outputs(wanted, x)
    return bool((a - b).abs().max() <= tolerance * max(1.0, float(b.abs().max())))


def norms(module: nn.Module) -> int:
    return sum(isinstance(m, NORMS) for m in module.modules())


def small() -> nn.Sequential:
    """conv · norm · relu · depthwise · norm · relu · grouped · norm · linear · norm."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 6, 1, groups=2),
        nn.BatchNorm2d(6, affine=False),
        nn.Flatten(),
        nn.Linear(6 * 16, 5),
        nn.BatchNorm1d(5),
    )


FOLDABLE = {
    "all": (small, (3, 2, 6, 6), 4),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)), (2, 3, 9), 1),
    "conv3d": (lambda: nn.Sequential(nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3)), (2, 2, 4, 4, 4), 1),
    "linear": (lambda: nn.Sequential(nn.Linear(7, 3, bias=False), nn.BatchNorm1d(3)), (4, 7), 1),
}


@pytest.mark.parametrize("name", FOLDABLE)
def test_folding_keeps_the_outputs(name: str) -> None:
    build, shape, count = FOLDABLE[name]
    net, x = settled(build()), images(*shape)
    before = copy.deepcopy(net.state_dict())
    found = prepare(net, x)
    assert (found.traced, found.folded, norms(found.module), found.note) == (True, count, 0, "")
    assert same(found.module, net, x)
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())


def test_a_folded_weight_is_w_gamma_over_sigma() -> None:
    conv, norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
    net = settled(nn.Sequential(conv, norm))
    folded: Any = prepare(net, images(2, 2, 5, 5)).layers["0"]
    factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    torch.testing.assert_close(folded.weight.double(), conv.weight.double() * factor.reshape(-1, 1, 1, 1))
    bias = norm.bias.double() + (conv.bias.double() - norm.running_mean.double()) * factor
    torch.testing.assert_close(folded.bias.double(), bias, atol=1e-6, rtol=1e-6)


def test_the_sample_net_folds_whole() -> None:
    net = finish(models["mobilenet_v2_digits"]().load(None))
    x = torch.rand((4, 1, 32, 32), generator=torch.Generator().manual_seed(0))
    found = prepare(net, x)
    assert (found.traced, found.folded, norms(found.module), len(found.layers)) == (True, 52, 0, 53)
    assert next(iter(found.layers)) == "features.0.0"
    assert list(found.layers)[-1] == "classifier.1"
    assert same(found.module, net, x)


def test_without_folding_norms_stay() -> None:
    net, x = settled(small()), images(3, 2, 6, 6)
    found = prepare(net, x, fold=False)
    assert (found.traced, found.folded, norms(found.module)) == (True, 0, 4)
    assert torch.equal(outputs(found.module, x), outputs(net, x))


class Parts(nn.Module):
    """A convolution, a norm and a linear layer, put together by `how`."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv, self.norm, self.linear = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(5, 5)
        self.wide, self.bare, self.how = nn.BatchNorm1d(4), nn.BatchNorm1d(5, affine=False), how
        self.batch = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        match self.how:
            case "conv read twice":
                y = self.conv(x)
                return self.norm(y) + y
            case "conv called twice":
                return self.norm(self.conv(x)) + self.conv(x)
            case "weights read elsewhere":
                return self.norm(self.conv(x)) * self.conv.weight.sum()
            case "no statistics":
                return self.batch(self.conv(x))
            case "norm of another axis":
                return self.wide(self.linear(x[:, :, 0, :5]))
            case "linear and a norm without weights":
                return self.bare(self.linear(x[:, 0, 0, :5]))
            case _:
                return self.norm(x)


@pytest.mark.parametrize(
    "how",
    ["conv read twice", "conv called twice", "weights read elsewhere", "no statistics", "norm of another axis",
     "linear and a norm without weights", "norm of the input"],
)  # fmt: skip
def test_a_norm_that_cannot_be_folded_stays(how: str) -> None:
    net, x = settled(Parts(how)), images(3, 4, 6, 6)
    found = prepare(net, x)
    assert found.traced
    assert found.folded == 0
    assert same(found.module, net, x)


def test_where_folding_spoils_the_outputs_the_model_is_traced_without() -> None:
    class Square(nn.Module):
        """Its norm is of the tokens, of which there are as many as features."""

        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.linear(x))

    net, x = settled(Square()), images(3, 4, 4)
    found = prepare(net, x)
    assert (found.traced, found.folded) == (True, 0)
    assert same(found.module, net, x)


def test_modules_that_share_a_tensor_are_not_folded_into_each_other() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    net[2].weight = net[0].weight
    settled(net)
    found = prepare(net, images(2, 3, 4, 4))
    assert (found.traced, found.folded) == (True, 0)
    assert same(found.module, net, images(2, 3, 4, 4))


class InPlace(nn.Module):
    """A layer after something that works in place by `how`."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.relu, self.linear, self.how = nn.ReLU(inplace=True), nn.Linear(4, 4), how

    def forward(self, x: Tensor) -> Tensor:
        match self.how:
            case "module":
                return self.linear(self.relu(x)) + x  # x is what relu made of it
            case "module whose result nobody takes":
                self.relu(x)
                return self.linear(x)
            case "method":
                return self.linear(x.sub_(0.3).div_(0.5)) * x
            case "method whose result nobody takes":
                y = self.linear(x)
                y.clamp_(max=0.1)
                return y + x
            case "function":
                y = F.relu(x, inplace=True)
                return self.linear(y) - x
            case "function with an underscore":
                torch.relu_(x)
                return self.linear(x)
            case _:
                y = self.linear(x)
                y += x
                return y


@pytest.mark.parametrize(
    "how",
    ["module", "module whose result nobody takes", "method", "method whose result nobody takes", "function",
     "function with an underscore", "operator"],
)  # fmt: skip
def test_steps_in_place_become_steps_with_results_of_their_own(how: str) -> None:
    net, x = settled(InPlace(how)), images(3, 4)
    found = prepare(net, x)
    assert found.traced
    assert torch.equal(outputs(found.module, x), outputs(net, x))
    given = x.clone()
    with torch.no_grad():
        found.module(given)
    assert torch.equal(given, x)


@pytest.mark.parametrize(
    ("change", "reason"),
    [(lambda x: x.zero_(), "zero_ works in place"), (lambda x: x[:, :2].add_(3), "other outputs")],
)
def test_what_works_in_place_otherwise_is_not_traced(change: Any, reason: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.linear(x)
            change(x)
            return y + x

    net = settled(Net())
    found = prepare(net, images(3, 4))
    assert not found.traced
    assert reason in found.note
    assert torch.equal(outputs(found.module, images(3, 4)), outputs(net, images(3, 4)))


class Branching(nn.Module):
    """Defined in another order than it runs in, and it looks at values."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.unused, self.first = nn.Linear(6, 2), nn.Linear(4, 4), nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x if x.sum() > 0 else -x)


def test_a_model_that_does_not_trace_is_copied_and_says_so() -> None:
    net, x = settled(Branching()), images(3, 4)
    found = prepare(net, x)
    assert not found.traced
    assert found.note.startswith("It does not trace (TraceError: symbolically traced variables cannot be used")
    assert found.note.endswith("so its layers are quantized by hooks: batch norm stays apart.")
    assert list(found.layers) == ["first", "last", "unused"]
    assert torch.equal(outputs(found.module, x), outputs(net, x))
    assert not any(layer._forward_pre_hooks for layer in found.layers.values())
    with pytest.raises(TypeError, match="Only a traced model"):
        Stages(found)


def test_a_model_that_remembers_gives_other_outputs_when_traced() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.calls = nn.Linear(4, 2), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return self.linear(x) * self.calls

    found = prepare(settled(Counting()), images(3, 4))
    assert not found.traced
    assert "the traced copy gives other outputs" in found.note


def test_a_model_in_training_mode_is_left_so_and_its_copy_is_not() -> None:
    net = settled(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5))).train()
    before = copy.deepcopy(net.state_dict())
    found = prepare(net, images(2, 2, 5, 5))
    assert net.training
    assert not found.module.training
    assert found.traced
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())


def test_arguments_with_defaults_keep_them() -> None:
    class Defaults(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x: Tensor, mask: Tensor | None = None, factor: float = 2.0) -> Tensor:
            y = self.linear(x) * factor
            return y if mask is None else y * mask

    net, x = settled(Defaults()), images(3, 4)
    found = prepare(net, x)
    assert found.traced
    assert torch.equal(outputs(found.module, x), outputs(net, x))
    assert torch.equal(whole_run(found, x), outputs(net, x))


def test_a_layer_may_be_called_with_its_input_by_name() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(input=x.abs())

    net, x = settled(Named()), images(3, 4)
    found = prepare(net, x)
    assert found.traced
    assert Stages(found).stages[0].source == "abs_1"
    assert torch.equal(outputs(found.module, x), outputs(net, x))


class Own(nn.Linear):
    """A linear layer that computes in a way of its own."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return F.linear(input, self.weight / self.weight.abs().max(), self.bias)


class Renamed(nn.Linear):
    """One by another name."""


def test_a_layer_that_computes_otherwise_is_none_and_is_named() -> None:
    net, x = settled(nn.Sequential(Renamed(4, 3), Own(3, 2))), images(3, 4)
    found = prepare(net, x)
    assert found.traced
    assert list(found.layers) == ["0"]
    assert found.note == "Not run as layers, and so left as they are: 1."
    assert torch.equal(outputs(found.module, x), outputs(net, x))


def test_the_layers_within_torch_s_own_blocks_are_found() -> None:
    block = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    net, x = settled(nn.Sequential(nn.Linear(4, 8), block)), images(3, 5, 4)
    found = prepare(net, x)
    assert not found.traced
    assert list(found.layers) == ["0", "1.linear1", "1.linear2"]
    assert not is_layer(block.self_attn.out_proj)
    assert "left as they are: 1.self_attn.out_proj." in found.note


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weights_that_are_computed_become_plain_ones() -> None:
    net, x = settled(nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 3)))), images(2, 4)
    found = prepare(net, x)
    layer: Any = found.layers["0"]
    assert isinstance(layer.weight, nn.Parameter)
    assert same(found.module, net, x)
    assert hasattr(net[0], "parametrizations")


def test_a_copy_shares_nothing() -> None:
    net, x = settled(small()), images(3, 2, 6, 6)
    found = prepare(net, x)
    quantize_input(found.layers["0"], weight_quantizer("x", x, QuantSpec.parse("uint8 affine")))
    twin = found.copy()
    assert list(twin.layers) == list(found.layers)
    before = outputs(found.module, x)
    assert torch.equal(outputs(twin.module, x), before)
    own: Any = [next(iter(p.layers["0"]._forward_pre_hooks.values())) for p in (found, twin)]
    assert all(isinstance(hook, QuantizeInput) for hook in own)
    assert own[0].quantizer is not own[1].quantizer
    with torch.no_grad():
        for tensor in [*twin.module.state_dict().values(), own[1].quantizer.scale]:
            tensor.zero_()
    assert torch.equal(outputs(found.module, x), before)


class Forked(nn.Module):
    """Branches that meet again, a parameter of its own, a layer called twice, and results that are tuples."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(2, 4, 1), nn.Conv2d(2, 4, 1)
        self.again, self.head, self.shift = nn.Conv2d(4, 4, 1), nn.Linear(4, 3), nn.Parameter(torch.zeros(1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        a, b = x.chunk(2, 1)
        y = self.left(a).relu_() + self.right(b) + self.shift
        y = self.again(self.again(y).tanh())
        return self.head((y + x).mean((2, 3)))


def whole_run(model: Prepared, x: Tensor) -> Tensor:
    stages = Stages(model)
    with torch.no_grad():
        return stages.finish(model.module, *stages.begin(x))


def traced(net: nn.Module, x: Tensor) -> Prepared:
    found = prepare(net, x)
    assert found.traced
    return found


NETS = {
    "forked": lambda: (settled(Forked()), images(3, 1, 5, 5)),
    "vit": lambda: (finish(models["vit_digits"]().load(None)), images(2, 1, 32, 32)),
}


@pytest.mark.parametrize("name", NETS)
def test_a_run_cut_anywhere_gives_the_same_bits(name: str) -> None:
    net, x = NETS[name]()
    model = traced(net, x)
    wanted = outputs(model.module, x)
    stages = Stages(model)
    values, at = stages.begin(x)
    with torch.no_grad():
        for cut in range(at, stages.end):
            values, at = stages.run(model.module, values, at, cut), cut
            assert torch.equal(stages.finish(model.module, values, at), wanted)


def test_a_branch_does_not_disturb_the_run_that_it_leaves() -> None:
    net, x = NETS["forked"]()
    model = traced(net, x)
    other = model.copy()
    with torch.no_grad():
        for parameter in other.module.parameters():
            parameter.add_(0.1)
    stages = Stages(model)
    values, at = stages.begin(x)
    with torch.no_grad():
        for stage in stages.stages:
            values, at = stages.run(model.module, values, at, stage.at), stage.at
            kept = {name: value.clone() for name, value in values.items() if isinstance(value, Tensor)}
            stages.finish(other.module, values, at)
            assert all(torch.equal(values[name], tensor) for name, tensor in kept.items())
        assert torch.equal(stages.finish(model.module, values, at), outputs(model.module, x))


def test_a_swapped_layer_is_swapped_at_all_its_calls() -> None:
    net, x = NETS["forked"]()
    model = traced(net, x)
    other = model.copy()
    changed: Any = other.layers["again"]
    with torch.no_grad():
        changed.weight.mul_(0.5)
    stages = Stages(model)
    (stage,) = (s for s in stages.stages if s.layer == "again")
    with torch.no_grad():
        values = stages.run(model.module, *stages.begin(x), stage.at)
        found = stages.finish(model.module, values, stage.at, ("again", other.module))
    assert torch.equal(found, outputs(other.module, x))


def test_a_stage_is_a_layer_s_first_call_and_names_what_it_reads() -> None:
    net, x = NETS["forked"]()
    model = traced(net, x)
    stages = Stages(model)
    assert [stage.layer for stage in stages.stages] == ["stem", "left", "right", "again", "head"]
    assert isinstance(model.module, fx.GraphModule)
    assert [name for _, name, _ in layer_nodes(model.module)] == list(model.layers)
    seen: list[Tensor] = []
    handle = model.layers["right"].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    wanted = outputs(model.module, x)
    handle.remove()
    (stage,) = (s for s in stages.stages if s.layer == "right")
    with torch.no_grad():
        values = stages.run(model.module, *stages.begin(x), stage.at)
    assert torch.equal(values[stage.source], seen[0])
    with torch.no_grad():
        assert torch.equal(stages.finish(model.module, values, stage.at), wanted)


def test_what_nobody_reads_any_more_is_forgotten() -> None:
    net, x = NETS["vit"]()
    model = traced(net, x)
    stages = Stages(model)
    values, at = stages.begin(x)
    most = 0
    with torch.no_grad():
        for stage in stages.stages:
            values, at = stages.run(model.module, values, at, stage.at), stage.at
            most = max(most, sum(isinstance(value, Tensor) for value in values.values()))
    assert most <= 3  # the residual, and what the layer reads
