"""Make what lies under resources/: the digits data and the sample model trained on them. Minutes on two cores.

    python scripts/make_samples.py                                       resources/digits.npz and the sample model
    python scripts/make_samples.py --data FOLDER --out mnist.safetensors  the same network on a folder of MNIST files

Everything is seeded: the same machine, torch and `--threads` give the same weights.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from qexplorer.engine.datasets import Data, open_dataset  # noqa: E402
from qexplorer.engine.evaluate import Evaluation, evaluate  # noqa: E402
from qexplorer.engine.networks.mobilenet_v2 import MobileNetV2  # noqa: E402
from qexplorer.progress import finish  # noqa: E402

TEST_SAMPLES = 360
BATCH = 64
DIGITS_LICENCE = "Digits: Alpaydin and Kaynak 1998, UCI, doi.org/10.24432/C50P49, CC BY 4.0. Weights: MIT."
OTHER_LICENCE = "Data: as the folder it came from says. Weights: MIT."


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


def train(data: Data, epochs: int, seed: int) -> nn.Module:
    """Train MobileNetV2 from nothing with AdamW and one cycle of the learning rate.

    Weight decay reaches every convolution, the depthwise ones and the batch norms too: it keeps the range of each
    channel near the others', which is what one scale for a whole int8 tensor needs.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.tensor(data.x_train), torch.tensor(data.y_train)
    net = MobileNetV2()
    steps = len(x) // BATCH
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=epochs * steps, pct_start=0.2)
    began = time.perf_counter()
    for epoch in range(epochs):
        net.train()
        order = torch.randperm(len(x), generator=generator)
        total = 0.0
        for step in range(steps):
            batch = order[step * BATCH : (step + 1) * BATCH]
            loss = F.cross_entropy(net(augment(x[batch], generator)), y[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}  loss {total / steps:.4f}  {time.perf_counter() - began:.0f} s", flush=True)
    return net.eval()


def save(net: nn.Module, path: Path, facts: dict[str, str]) -> None:
    """Write the weights as safetensors, with the facts about them in the header."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, path, metadata=facts)
    path.chmod(0o644)  # safetensors makes it private; it is shipped


def facts_of(model: str, data: Data, result: Evaluation, options: argparse.Namespace) -> dict[str, str]:
    """What the header says about the weights; all strings, accuracy as fractions."""
    return {
        "model": model,
        "data": data.name,
        "data_sha256": data.sha256,
        "top1": f"{result.top1:.6f}",
        "top5": f"{result.top5:.6f}",
        "n_train": str(len(data.x_train)),
        "n_test": str(result.n),
        "seed": str(options.seed),
        "epochs": str(options.epochs),
        "torch": torch.__version__,
        "licence": DIGITS_LICENCE if data.name == "digits" else OTHER_LICENCE,
    }


def main() -> None:
    """Read the options, train, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="“digits” or a folder of MNIST IDX files")
    parser.add_argument("--out", type=Path, help="the weights' file; default for digits: the one in resources/")
    parser.add_argument("--epochs", type=int, help="default: 30 for digits, 8 for another data set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    digits = options.data == "digits"
    if options.out is None and not digits:
        parser.error("--data FOLDER needs --out FILE")
    options.epochs = options.epochs or (30 if digits else 8)
    resources = ROOT / "resources"
    if digits:
        resources.mkdir(exist_ok=True)
        make_digits(resources / "digits.npz")
    model = "mobilenet_v2_digits" if digits else "mobilenet_v2_mnist"
    out = options.out or resources / f"{model}.safetensors"
    torch.set_num_threads(options.threads)
    data = finish(open_dataset(options.data))
    net = train(data, options.epochs, options.seed)
    result = finish(evaluate(net, data.x_test, data.y_test))
    save(net, out, facts_of(model, data, result, options))
    print(f"{out}: top-1 {result.top1:.2%}, top-5 {result.top5:.2%} of {result.n} test samples")


if __name__ == "__main__":
    main()
