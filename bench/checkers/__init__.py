"""Checkers: evidence in, one finding out. Pure functions without I/O, so that a stored run can be checked again.

A checker looks at its own assumptions first and answers UNKNOWN where the evidence cannot carry a verdict: no trace, no
leader ever seen, a write that nobody read back. VALID is said only of what was looked at. INVALID names the lines that
contradict each other.

* `elections`: one leader a term, no two leaders at any instant, a successor at once where one was asked for, and no
  leader deposed while a majority followed it.
* `logs`: nodes that applied up to one index applied the same entries.
* `transitions`: each step that a node wrote down is one of Raft's, of which `specification` has the rules.
* `clocks`: whether clocks ran about alike, on which what leases keep rests.
* `stable`: whether each node kept what it had saved, on which most of this rests.
* `durability`: what was acknowledged is there.
* `linearizability`: calls took effect one after the other, each while it was under way; of a run, and of any calls by
  any model (`orders` has the searches).
* `sessions`: several reads of one node or of one instant fit together, also where each may be old; what was asked for
  again was done once.
* `statuses`: what nodes say of themselves when they are asked, now and again, is no contradiction.
* `totals`: lists, counters and sets that clients change together add up.
* `faults`: every fault on links met traffic, asked of each scenario; or one of them did, asked of each case.
* `liveness`: a majority that was well had a leader, and served its clients (`majorities` says when that is owed).
* `availability`: for how long no write was acknowledged, and beside which faults. A figure, which convicts nobody.
* `interference`: the bench did nothing that nobody had asked for; asked of each run.
"""

from bench.checkers.availability import availability
from bench.checkers.durability import acknowledged_writes_survive
from bench.checkers.elections import (
    leadership_is_handed_over,
    nobody_disturbs_a_leader,
    one_leader_at_a_time,
    one_leader_per_term,
)
from bench.checkers.faults import faults_touched_traffic, some_fault_touched_traffic
from bench.checkers.interference import the_bench_did_not_interfere
from bench.checkers.linearizability import Budget, check_linearizable, linearizable, stale_reads_are_true
from bench.checkers.liveness import served_while_a_majority_is_well
from bench.checkers.logs import logs_agree
from bench.checkers.sessions import (
    reads_never_go_back,
    retried_writes_take_effect_once,
    several_keys_are_read_at_once,
)
from bench.checkers.statuses import nodes_say_one_thing
from bench.checkers.totals import totals_add_up
from bench.checkers.transitions import traces_follow_raft

SAFETY = (one_leader_per_term, one_leader_at_a_time, logs_agree, traces_follow_raft)
"""What Raft promises of the nodes, whatever a scenario is about."""
ONE_STORY = (
    linearizable,
    stale_reads_are_true,
    reads_never_go_back,
    several_keys_are_read_at_once,
    retried_writes_take_effect_once,
    totals_add_up,
)
"""What clients of a store are promised of what they are told: that all of it together is one story."""
CLIENTS = (acknowledged_writes_survive, *ONE_STORY)
"""The same, and that what was acknowledged is kept, for which it has to be read back. This is judged by what clients
were told alone, so of any system."""

__all__ = [
    "CLIENTS",
    "ONE_STORY",
    "SAFETY",
    "Budget",
    "acknowledged_writes_survive",
    "availability",
    "check_linearizable",
    "faults_touched_traffic",
    "leadership_is_handed_over",
    "linearizable",
    "logs_agree",
    "nobody_disturbs_a_leader",
    "nodes_say_one_thing",
    "one_leader_at_a_time",
    "one_leader_per_term",
    "reads_never_go_back",
    "retried_writes_take_effect_once",
    "served_while_a_majority_is_well",
    "several_keys_are_read_at_once",
    "some_fault_touched_traffic",
    "stale_reads_are_true",
    "the_bench_did_not_interfere",
    "totals_add_up",
    "traces_follow_raft",
]
