"""What a value out of a file is, said so that the type checker believes it."""

from typing import Any, TypeGuard


def is_count(value: Any) -> TypeGuard[int]:
    """Whether it is a whole number, not negative, and no boolean in disguise."""
    return type(value) is int and value >= 0


def is_tuple(value: Any) -> TypeGuard[tuple[Any, ...]]:
    """Whether it is a tuple, of anything."""
    return isinstance(value, tuple)


def is_sequence(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Whether it is a list or tuple, of anything."""
    return isinstance(value, list | tuple)


def is_table(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether it is a JSON object."""
    return isinstance(value, dict)
