"""`Recent`: a cache that forgets what was not asked for longest."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Several threads may ask it. It holds at most `size` in all, the sum of what `weigh` says of each value: 1 where
    nothing else is said.
    """

    def __init__(self, size: int, weigh: Callable[[V], int] = lambda _: 1) -> None:
        self._size, self._weigh, self._held = size, weigh, 0
        self._items: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value of `key`, if it is still known."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: K, value: V) -> None:
        """Remember a value."""
        with self._lock:
            if key in self._items:
                self._held -= self._weigh(self._items.pop(key))
            self._items[key] = value
            self._held += self._weigh(value)
            while self._held > self._size and len(self._items) > 1:
                self._held -= self._weigh(self._items.popitem(last=False)[1])

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._items.clear()
            self._held = 0
