"""What a job sets for the whole process while it runs, and puts back."""

from collections.abc import Iterator
from contextlib import contextmanager

from qexplorer.quant.pool import cores


def default_threads() -> int:
    """All cores that this process may use but one, so that the window stays quick; at least one."""
    return max(1, cores() - 1)


@contextmanager
def torch_settings(threads: int, engine: str, seed: int) -> Iterator[None]:
    """Inside: `threads` threads, this int8 engine ("": any), random numbers from `seed`. After: all as it was."""
    import torch

    before = torch.get_num_threads(), torch.backends.quantized.engine, torch.random.get_rng_state()
    try:
        torch.set_num_threads(threads)
        if engine:
            torch.backends.quantized.engine = engine
        torch.manual_seed(seed)
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.quantized.engine = before[1]
        torch.random.set_rng_state(before[2])
