"""What modules read and give while a model runs, seen through hooks that are gone afterwards."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import Tensor, nn

K = TypeVar("K")


@contextmanager
def watching_inputs(
    modules: Mapping[K, nn.Module], see: Callable[[K, Tensor], None], *, first: bool = False
) -> Iterator[None]:
    """Inside, `see(key, x)` is told what each module reads whenever it is called.

    With `first` it is what the module is called with, before other hooks change it.
    """

    def hook(key: K) -> Callable[..., None]:
        def seen(_: nn.Module, args: Any, kwargs: Any) -> None:  # what a hook returns would be read instead
            see(key, input_of(args, kwargs))

        return seen

    with _until_the_end(
        module.register_forward_pre_hook(hook(key), prepend=first, with_kwargs=True) for key, module in modules.items()
    ):
        yield


@contextmanager
def watching_outputs(modules: Mapping[K, nn.Module], see: Callable[[K, Tensor, Any], None]) -> Iterator[None]:
    """Inside, `see(key, x, y)` is told what each module read and gave whenever it was called."""

    def hook(key: K) -> Callable[..., None]:
        def seen(_: nn.Module, args: Any, kwargs: Any, y: Any) -> None:
            see(key, input_of(args, kwargs), y)

        return seen

    with _until_the_end(module.register_forward_hook(hook(key), with_kwargs=True) for key, module in modules.items()):
        yield


def input_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """What a module is called with: it takes one tensor, which may be named."""
    return args[0] if args else kwargs["input"]


@contextmanager
def _until_the_end(handles: Iterator[Any]) -> Iterator[None]:
    registered = list(handles)
    try:
        yield
    finally:
        for handle in registered:
            handle.remove()
