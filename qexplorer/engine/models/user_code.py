"""Running a Python file of the person's own as a module, and letting it import what lies beside it."""

import contextlib
import importlib
import importlib.util
import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

RUNS = itertools.count(1)
"""So that each run is a module of its own."""


class _Trusted(SourceFileLoader):
    """Runs the bytes that were allowed: neither what the file has by now nor a compiled copy beside it."""

    def __init__(self, name: str, path: Path, source: bytes) -> None:
        super().__init__(name, str(path))
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self._source, self.path)


def run_source(path: Path, source: bytes) -> ModuleType:
    """The module that the source at `path` makes. It stays known to Python while it serves a model."""
    name = f"_qexplorer_own_{next(RUNS)}"
    loader = _Trusted(name, path, source)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None:
        raise ImportError(f"{path} is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Inside, modules are first looked for in `folder`.

    Those that were found there are forgotten afterwards, so that another model's of the same name are not taken for
    them, and so that changes are seen.
    """
    place, before = str(folder), set(sys.modules)
    if place in sys.path:
        yield
        return
    sys.path.insert(0, place)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the code may have changed the path itself
            sys.path.remove(place)
        new = set(sys.modules) - before
        roots = {name for name in new if "." not in name and _lies_in(folder, name)}
        for name in new:
            if name.partition(".")[0] in roots:
                del sys.modules[name]


def _lies_in(folder: Path, name: str) -> bool:
    """Whether the top-level module of that name is a file or a package of the folder itself."""
    spec = getattr(sys.modules[name], "__spec__", None)
    places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec is not None else []
    own = {str(folder / name), str(folder / f"{name}.py"), str(folder / name / "__init__.py")}
    return not own.isdisjoint(places)
