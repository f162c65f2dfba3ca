"""What a run leaves behind for the checkers: values only, whether taken from the run or read back from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from bench.case import Settings
from bench.operations import Operation, key_by_key

ERROR = "error"
"""The event of the timeline that an error in the story ends the blocks of faults, which are in force until then."""
STORY_OVER = "story_over"
"""The event of the timeline that ends the story; what the bench does later is no part of it."""
SAID = "said"
"""The event of the timeline that has what a `node` said of itself (`Said`), having been asked at `since_s`."""


class Said(NamedTuple):
    """What a node says of itself, as far as it is noted."""

    role: str
    term: int
    applied_index: int
    """Up to there it has applied the log."""
    digest: str
    """Of what it has applied."""
    voters: tuple[str, ...]
    """In its configuration."""
    others: tuple[str, ...]
    """Members that do not vote yet."""


Record = Mapping[str, Any]
"""One line of a node's trace or of the bench's timeline: `at_s`, `event` and the event's own fields."""


@dataclass(frozen=True)
class Evidence:
    """Everything on one monotonic clock, in seconds."""

    history: tuple[Operation, ...]
    """What clients asked and were told, the tries of a write as one (`bench.history`)."""
    traces: Mapping[str, tuple[Record, ...]]
    """Each node's own trace, over all its incarnations, in the order written."""
    timeline: tuple[Record, ...]
    """What the bench did: kill, pause, resume, restart (with `node`), faults begun and healed."""
    settings: Settings = field(default_factory=Settings)
    """What the nodes were told before they started."""

    @cached_property
    def parts(self) -> tuple[Operation, ...]:
        """The history key by key. Several checks take it so, and to take it apart costs as much as most of them."""
        return tuple(part for operation in self.history for part in key_by_key(operation))
