"""The pieces in which a tensor is worked on: how large they are, and their rows."""

from collections.abc import Iterator

from qexplorer.quant.arrays import AnyArray
from qexplorer.quant.spec import QuantSpec
from qexplorer.quant.tensor_source import Values, narrowed
from qexplorer.quant.tiling import Piece

BLOCK = 1 << 20
"""Values in one step of the work: small enough to cancel within a moment, and to stay in the cache."""
SEARCHED = 1 << 17
"""Values in one step where ranges are searched, or a format is computed in NumPy."""


def blocks(values: Values, spec: QuantSpec, *, whole: bool = False, searched: bool = False) -> Iterator[Piece]:
    """All pieces, of `BLOCK` or `SEARCHED` values; `whole`: no group is divided among them."""
    tiling, most = spec.granularity.tiling(values.shape), SEARCHED if searched else BLOCK
    return tiling.whole_groups(most) if whole else tiling.pieces(most)


def groups_fit(values: Values, spec: QuantSpec) -> bool:
    """Whether each piece can hold all of its groups without being much larger than others."""
    return max(map(size_of, blocks(values, spec, whole=True)), default=0) <= 2 * BLOCK


def rows_of(values: Values, spec: QuantSpec, piece: Piece) -> AnyArray:
    """The rows of a piece in the stored type, `[R, N]`."""
    raw = narrowed(values.read(piece.start, piece.stop))
    return spec.granularity.tiling(piece.shape).lay(raw.reshape(piece.shape))


def size_of(piece: Piece) -> int:
    """How many values it has."""
    return piece.stop - piece.start
