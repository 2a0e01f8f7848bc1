"""Which tensor of a file is which of a module: by name, where either side may put a prefix before all of its names."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from qexplorer.errors import UserError
from qexplorer.text import first_few
from qexplorer.weights import TensorInfo

COUNTER = "num_batches_tracked"
"""Batch norm's count of training batches: inference does not use it, and old files lack it."""
NESTS = ("state_dict", "model_state_dict")
"""Under these words training scripts keep a model's tensors, beside whatever else they keep."""
OTHER_NESTS = ("model", "module", "net", "network")
"""So they do under these; but they may be parts of a larger model, so that only `PROGRESS` may lie beside them."""
PROGRESS = re.compile(r"optim\w*|lr_sched\w*|sched\w*|\w*scaler|amp|epoch|\w*step|iter\w*|\w*rng_state\w*|best_\w+")
"""Words under which scripts keep what training needs to go on."""
DEEPEST = 16
"""Prefixes of more words than this are not looked for."""
TRIED = 50
"""How many prefixes are tried to say what does not fit."""
Shapes = Mapping[str, tuple[int, ...]]
Found = Mapping[str, TensorInfo]


def match_names(wanted: Shapes, found: Found, file: str, model: str) -> dict[str, TensorInfo]:
    """The file's tensors by the module's names; counters may be missing.

    The names are the same, or differ by a prefix of all the module's or of all the file's, such as `module.`; or the
    file holds them under a word such as `state_dict`, and beside it what training needs. Raises `UserError` naming what
    is missing and too many, or where the file holds what fits more than once.
    """
    names = _Names(wanted, found)
    match = names.match("", "")
    if match is not None:
        return match.tensors
    every = names.matches()
    allowed = [match for match in every if names.stands_alone(match)]
    if len(every) > 1:
        shaped = [m for m in every if all(info.shape == wanted[name] for name, info in m.tensors.items())]
        fitting = [match for match in allowed if match in shaped]
        if len(shaped) > 1 and (fitting or not allowed):
            places = first_few([f"{match.prefix}*" for match in shaped], 3)
            what = f"{file} holds weights that fit {model} more than once: {places}."
            raise UserError(what, "Save those that are meant in a file of their own.", field="weights")
        allowed = fitting or allowed
    if not allowed:
        raise UserError(f"{file} {names.misfit()}.", f"Choose weights of {model}.", field="weights")
    return allowed[0].tensors


@dataclass(frozen=True)
class _Match:
    """The file's tensors by the module's names, of which `cut` is left out and `prefix` put before the rest."""

    cut: str
    prefix: str
    tensors: dict[str, TensorInfo]

    def may_lie_beside(self, name: str) -> bool:
        """Whether a tensor of that name, which is not matched, casts no doubt on the match."""
        top, word = self.prefix.partition(".")[0], name.partition(".")[0]
        if not top or top == word:
            return False
        return top in NESTS or (top in OTHER_NESTS and PROGRESS.fullmatch(word) is not None)


@dataclass(frozen=True)
class _Names:
    """What a module wants, its tensors' shapes by name, and what a file has."""

    wanted: Shapes
    found: Found

    def match(self, cut: str, prefix: str) -> _Match | None:
        """The match with these prefixes, if all that is required is there and nothing else has the file's prefix."""
        tensors = self._tensors(cut, prefix)
        whole = self._required <= tensors.keys() and len(tensors) == self._prefixes[prefix]
        return _Match(cut, prefix, tensors) if whole else None

    def matches(self) -> list[_Match]:
        """Every match, those that come to the same tensors once."""
        every: dict[frozenset[str], _Match] = {}
        fewest, most = max(1, len(self._required)), len(self.wanted)
        for prefix in (prefix for prefix, n in self._prefixes.items() if fewest <= n <= most):
            if not PROGRESS.fullmatch(prefix.partition(".")[0]):
                for match in filter(None, (self.match(cut, prefix) for cut in self._cuts)):
                    every.setdefault(frozenset(info.name for info in match.tensors.values()), match)
        return list(every.values())

    def stands_alone(self, match: _Match) -> bool:
        """Whether nothing else in the file casts doubt on a match."""
        taken = {info.name for info in match.tensors.values()}
        return all(name in taken or match.may_lie_beside(name) for name in self.found)

    def misfit(self) -> str:
        """What is missing and what is too many by the nearest match, as numbers and the first few names."""
        prefixes = dict.fromkeys(["", *(prefix for prefix, _ in self._prefixes.most_common(TRIED))])
        pairs = [(cut, prefix) for prefix in prefixes for cut in self._cuts]
        cut, prefix = max(pairs, key=lambda pair: len(self._tensors(*pair)))
        match = _Match(cut, prefix, self._tensors(cut, prefix))
        taken = {info.name for info in match.tensors.values()}
        missing = sorted(self._required - match.tensors.keys())
        extra = sorted(name for name in self.found if name not in taken and not match.may_lie_beside(name))
        parts = [f"lacks {_listed(missing)} that the model takes"] if missing else []
        parts += [f"has {_listed(extra)} more than the model takes"] if extra else []
        return " and ".join(parts)

    @cached_property
    def _required(self) -> frozenset[str]:
        return frozenset(name for name in self.wanted if not name.endswith(COUNTER))

    @cached_property
    def _prefixes(self) -> Counter[str]:
        return _prefixes(self.found)

    @cached_property
    def _cuts(self) -> list[str]:
        """The prefixes that all the module's names share, the empty one first."""
        return sorted((prefix for prefix, n in _prefixes(self.wanted).items() if n == len(self.wanted)), key=len)

    def _tensors(self, cut: str, prefix: str) -> dict[str, TensorInfo]:
        pairs = ((name, self.found.get(prefix + name[len(cut) :])) for name in self.wanted)
        return {name: info for name, info in pairs if info is not None}


def _prefixes(names: Iterable[str]) -> Counter[str]:
    """How many names begin with each prefix, which is empty or ends in a dot."""
    counts = Counter({"": 0})
    for name in names:
        words = name.split(".", DEEPEST)[:-1]
        counts.update(["", *(".".join(words[: i + 1]) + "." for i in range(len(words)))])
    return counts


def _listed(names: list[str]) -> str:
    return f"{len(names):,} tensor{'' if len(names) == 1 else 's'} ({first_few(names, 3)})"
