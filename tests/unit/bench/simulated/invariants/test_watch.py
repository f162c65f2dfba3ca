"""When a round is judged, and when it is noted."""

from __future__ import annotations

from bench.simulated.invariants import Invariants
from bench.simulated.invariants.watch import ON_STEP
from node.raft import Configuration
from tests.unit.bench.simulated.invariants.steps import Clock, raft


def test_a_round_is_judged_once_it_is_durable_and_not_when_a_crash_undoes_it() -> None:
    """A vote given in a round that was never saved was given to nobody."""
    watcher, core = Invariants(), raft("a")
    watcher.started("a", core, Clock(), 0.0)
    core.bootstrap(Configuration.first([("a", "a:1")]), 1.0)
    watcher.stepped("a", core, core.take_effects(), 1.0)
    assert watcher.ledger.leaders == {}
    watcher.crashed("a", 1.1)

    again = raft("a")
    watcher.started("a", again, Clock(), 2.0)
    again.bootstrap(Configuration.first([("a", "a:2")]), 2.0)
    effects = again.take_effects()
    watcher.stepped("a", again, effects, 2.0)
    watcher.saved("a", effects.hard_state, effects.entries, None, 2.1)
    assert watcher.ledger.leaders == {2: "a"}
    assert watcher.ledger.committed == [0, 1, 2]


def test_a_round_is_noted_after_it_is_judged_but_for_what_it_commits() -> None:
    """A leader commits and changes members in one round, and may by what is committed then."""
    order = [asked.__name__ for asked, _ in ON_STEP]
    judges = [name for name in order if not name.startswith("note_")]
    assert order[: len(judges) + 1] == [*judges[:-1], "note_commits", "members_change_one_at_a_time"]
