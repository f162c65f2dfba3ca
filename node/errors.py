"""What a client may be told instead of an answer, beside what the core refuses (`node.raft.errors`).

Each says whether the thing asked for has happened, and that is its meaning: see `node.web.client_api`.
"""

from __future__ import annotations


class LeadershipLostError(Exception):
    """The node ceased to lead before this was decided: it may have taken effect, or may yet, or may not."""


class OverwrittenError(Exception):
    """Another leader's entry stands where this one stood: it has not taken effect and never will."""


class StoppingError(Exception):
    """The node is going down; nothing was proposed."""


class NothingToSnapshotError(Exception):
    """Nothing has been applied yet."""


class NotInTimeError(Exception):
    """A change that takes several rounds was given up; the text says what is left of it."""
