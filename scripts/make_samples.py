"""Make what lies under resources/: the digits data and the sample models trained on them. Minutes on two cores.

    python3 scripts/make_samples.py                                        resources/digits.npz and the sample models
    python3 scripts/make_samples.py --model vit                            that one on the digits, which are left alone
    python3 scripts/make_samples.py --data FOLDER --out mnist.safetensors  MobileNetV2 on a folder of MNIST files
    python3 scripts/make_samples.py --data FOLDER --out vit.safetensors --model vit

Runs in the environment of scripts/test.py. Everything is seeded: the same machine, torch and `--threads` give the same
weights. Each epoch is kept in OUT.training until OUT is written; the same command goes on from there.
"""

import sys

if __name__ == "__main__":  # what is needed to the very end is asked for before anything is done
    from launch import require_python

    require_python(sys.version_info)
    from _inside import enter

    enter("test", "numpy", "torch", "safetensors", "sklearn")

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from _training_state import TrainingState  # noqa: E402

from qexplorer.engine.datasets import Data, open_dataset  # noqa: E402
from qexplorer.engine.measuring.evaluate import Evaluation, evaluate  # noqa: E402
from qexplorer.engine.networks.mobilenet_v2 import MobileNetV2  # noqa: E402
from qexplorer.engine.networks.vit import VisionTransformer  # noqa: E402
from qexplorer.progress import finish  # noqa: E402

TEST_SAMPLES = 360
BATCH = 64
DIGITS_LICENCE = "Digits: Alpaydin and Kaynak 1998, UCI, doi.org/10.24432/C50P49, CC BY 4.0. Weights: MIT."
OTHER_LICENCE = "Data: as the folder it came from says. Weights: MIT."
RESOURCES = ROOT / "resources"


@dataclass(frozen=True)
class Recipe:
    """How one network is trained; `model` and `other` are the names under which the program takes the weights.

    `plain` is the share of each batch that is left as it is: a transformer does not know the edges between enlarged
    pixels from images that were turned and smoothed, while a convolution does.
    """

    network: Callable[[], nn.Module]
    model: str
    other: str
    epochs: int
    other_epochs: int
    rate: float
    plain: float = 0.0


RECIPES = {
    "mobilenet_v2": Recipe(MobileNetV2, "mobilenet_v2_digits", "mobilenet_v2_mnist", 30, 8, 3e-3),
    "vit": Recipe(VisionTransformer, "vit_digits", "vit_digits", 100, 8, 2e-3, plain=0.25),
}


def make_digits(path: Path) -> None:
    """Write the UCI digits as scikit-learn ships them, with a seeded choice of 360 test samples."""
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    test = np.zeros(len(classes), bool)
    test[np.random.default_rng(0).permutation(len(test))[:TEST_SAMPLES]] = True
    x, y = pixels.reshape(-1, 8, 8).astype(np.uint8), classes.astype(np.uint8)
    np.savez_compressed(path, x=x, y=y, test=test, licence=np.array(DIGITS_LICENCE))


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image [N, 1, H, W] turned by up to 10°, scaled by up to 10 % and shifted by up to a tenth of its side."""
    angle, scale, *shift = ((torch.rand(4, len(x), generator=generator) * 2) - 1) * torch.tensor(
        [[np.pi / 18], [0.1], [0.2], [0.2]]
    )
    cos, sin = angle.cos() / (1 + scale), angle.sin() / (1 + scale)
    theta = torch.stack([torch.stack([cos, -sin, shift[0]], 1), torch.stack([sin, cos, shift[1]], 1)], 1)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def mixed(x: Tensor, plain: float, generator: torch.Generator) -> Tensor:
    """The images [N, 1, H, W] with all but the first share of them augmented."""
    n = round(plain * len(x))
    return torch.cat([x[:n], augment(x[n:], generator)])


def train(recipe: Recipe, data: Data, epochs: int, seed: int, out: Path) -> tuple[nn.Module, TrainingState]:
    """Train a network from nothing with AdamW and one cycle of the learning rate; epochs done for `out` are kept.

    Weight decay reaches every convolution, the depthwise ones and the batch norms too: it keeps the range of each
    channel near the others', which is what one scale for a whole int8 tensor needs.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.tensor(data.x_train), torch.tensor(data.y_train)
    net = recipe.network()
    steps = len(x) // BATCH
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.rate, weight_decay=0.05)
    cycle = torch.optim.lr_scheduler.OneCycleLR
    schedule = cycle(optimizer, max_lr=recipe.rate, total_steps=epochs * steps, pct_start=0.2)
    settings = {"model": recipe.model, "data": data.sha256, "epochs": epochs, "seed": seed,
                "threads": torch.get_num_threads(), "torch": torch.__version__}  # fmt: skip
    state = TrainingState(out, settings, {"net": net, "optimizer": optimizer, "schedule": schedule}, generator)
    done = state.restore()
    if done:
        print(f"{state.path}: going on after epoch {done}", flush=True)
    began = time.perf_counter()
    for epoch in range(done, epochs):
        net.train()
        order = torch.randperm(len(x), generator=generator)
        total = 0.0
        for step in range(steps):
            batch = order[step * BATCH : (step + 1) * BATCH]
            outputs = net(mixed(x[batch], recipe.plain, generator))
            loss = F.cross_entropy(outputs, y[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        state.save(epoch + 1)
        print(f"epoch {epoch + 1}/{epochs}  loss {total / steps:.4f}  {time.perf_counter() - began:.0f} s", flush=True)
    return net.eval(), state


def save(net: nn.Module, path: Path, facts: dict[str, str]) -> None:
    """Write the weights as safetensors, with the facts about them in the header."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, path, metadata=facts)
    path.chmod(0o644)  # safetensors makes it private; it is shipped


def facts_of(model: str, data: Data, result: Evaluation, epochs: int, seed: int) -> dict[str, str]:
    """What the header says about the weights; all strings, accuracy as fractions."""
    return {
        "model": model,
        "data": data.name,
        "data_sha256": data.sha256,
        "top1": f"{result.top1:.6f}",
        "top5": f"{result.top5:.6f}",
        "n_train": str(len(data.x_train)),
        "n_test": str(result.n),
        "seed": str(seed),
        "epochs": str(epochs),
        "torch": torch.__version__,
        "licence": DIGITS_LICENCE if data.name == "digits" else OTHER_LICENCE,
    }


def make(recipe: Recipe, data: Data, options: argparse.Namespace) -> None:
    """Train, evaluate, write."""
    digits = options.data == "digits"
    model = recipe.model if digits else recipe.other
    out = options.out or RESOURCES / f"{model}.safetensors"
    epochs = options.epochs or (recipe.epochs if digits else recipe.other_epochs)
    net, state = train(recipe, data, epochs, options.seed, out)
    result = finish(evaluate(net, data.x_test, data.y_test))
    save(net, out, facts_of(model, data, result, epochs, options.seed))
    state.forget()
    print(f"{out}: top-1 {result.top1:.2%}, top-5 {result.top5:.2%} of {result.n} test samples")


def main() -> int:
    """Read the options and make what they name; 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=RECIPES, help="default: all for digits, mobilenet_v2 for another data set")
    parser.add_argument("--data", default="digits", help="“digits” or a folder of MNIST IDX files")
    parser.add_argument("--out", type=Path, help="the weights' file; default for digits: the one in resources/")
    epochs = "; ".join(f"{name}: {r.epochs} for digits, {r.other_epochs} else" for name, r in RECIPES.items())
    parser.add_argument("--epochs", type=int, help=f"default for {epochs}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    digits = options.data == "digits"
    if options.out is None and not digits:
        parser.error("--data FOLDER needs --out FILE")
    if options.out is not None and digits and options.model is None:
        parser.error("--out FILE needs --model, as it holds only one")
    if digits and options.model is None:
        RESOURCES.mkdir(exist_ok=True)
        make_digits(RESOURCES / "digits.npz")
    torch.set_num_threads(options.threads)
    data = finish(open_dataset(options.data))
    everything = list(RECIPES) if digits else ["mobilenet_v2"]
    for name in [options.model] if options.model else everything:
        make(RECIPES[name], data, options)
    return 0


if __name__ == "__main__":
    from _inside import to_the_end

    sys.exit(to_the_end(main))
