"""What a run leaves behind for the checkers: values only, whether taken from the run or read back from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.case import Settings
from bench.operations import Operation

ERROR = "error"
"""The event of the timeline that an error in the story ends the blocks of faults, which are in force until then."""
STORY_OVER = "story_over"
"""The event of the timeline that ends the story; what the bench does later is no part of it."""
SAID = "said"
"""The event of the timeline that has what a `node` said of itself, having been asked at `since_s`: its `role` and
`term`, up to which `applied_index` it had applied the log, and the `digest` of what it had applied."""

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
