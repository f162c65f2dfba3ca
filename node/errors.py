"""What a client may be told instead of an answer, besides the core's refusals (`node.raft.errors`).

Each error says whether what was asked for has happened: see `node.web.replies`.
"""

from __future__ import annotations


class LeadershipLostError(Exception):
    """The node ceased to lead before this was decided. The request may have taken effect, may yet, or never will."""


class OverwrittenError(Exception):
    """Another leader's entry has replaced this one, which has not taken effect and never will."""


class StoppingError(Exception):
    """The node is going down; nothing was proposed."""


class NothingToSnapshotError(Exception):
    """Nothing has been applied yet."""


class NotInTimeError(Exception):
    """A change that takes several rounds was given up; the text says what is left of it."""
