"""MNIST from the network: fetched once, then read from the cache folder as any folder of its files."""

import os
from dataclasses import dataclass, replace
from typing import ClassVar

from qexplorer.engine.datasets import Data, Source, datasets
from qexplorer.engine.datasets.download import Remote, fetch
from qexplorer.engine.datasets.mnist import Mnist
from qexplorer.folders import cache_folder
from qexplorer.progress import Steps, within

VARIABLE = "QEXPLORER_MNIST_URL"
"""Addresses to use in place of `MIRRORS`, with spaces between them."""
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
REMOTES = (
    Remote("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9_912_422),
    Remote("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28_881),
    Remote("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1_648_877),
    Remote("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4_542),
)
REMEDY = "Try again, it goes on where it stopped; or name a folder with the four files of MNIST instead of “mnist”."
FETCHED = 0.9
"""Where fetching ends, as a fraction of the whole; reading is the rest."""


@datasets.register
@dataclass(frozen=True)
class MnistDownload(Source):
    """The files that yann.lecun.com no longer gives out, from two mirrors; a folder of that name is `./mnist`."""

    name: ClassVar[str] = "mnist_download"
    title: ClassVar[str] = "MNIST (download)"
    help: ClassVar[str] = "“mnist”, which is downloaded once (12 MB)"
    order: ClassVar[int] = 15
    word: ClassVar[str] = "mnist"

    def read(self) -> Steps[Data]:
        folder = cache_folder() / "mnist"
        bases = os.environ.get(VARIABLE, "").split() or MIRRORS
        done, whole = 0, sum(remote.nbytes for remote in REMOTES)
        for remote in REMOTES:
            start, done = done, done + remote.nbytes
            steps = fetch(remote, folder, bases, remote.name.partition("-idx")[0], REMEDY)
            yield from within(steps, FETCHED * start / whole, FETCHED * done / whole)
        data = yield from within(Mnist(folder).read(), FETCHED, 1.0)
        return replace(data, name="mnist")
