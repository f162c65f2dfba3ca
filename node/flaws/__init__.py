"""Seeded bugs, to see whether what watches would notice: each breaks one rule of Raft, and nothing else.

A flaw is a module with a class `Flawed`, a subclass of `Raft` that overrides exactly one method of `node.raft.rules`,
as real systems have done; the module says which. Every rule has a flaw, which a unit test holds true: a rule that
nobody has broken may be one that does nothing. Nothing imports a flaw. It is asked for by name, in the simulated world
alone:

    python -m bench explore --world simulated --flaw forget_vote
"""

from __future__ import annotations

import importlib
import pkgutil

from node.raft import Raft


def names() -> tuple[str, ...]:
    """Every flaw there is, by name."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> type[Raft]:
    """The core with this flaw. Raises LookupError for a name that is none."""
    if name not in names():
        raise LookupError(f"there is no flaw {name!r}; there are {', '.join(names())}")
    flawed: type[Raft] = importlib.import_module(f"{__name__}.{name}").Flawed
    return flawed
