"""The scenarios: what Raft promises, each told as a story that must come out right.

A scenario is a function of a `Cluster` with the promise as its docstring, marked by `@scenario` with the number of
nodes it takes and the checks that its evidence goes through. Its run is INVALID when an assertion fails, when a wait
runs out, and when a check finds the promise broken; whatever else goes wrong in the function leaves it UNKNOWN. It
names no process and no clock, so ``python -m bench run`` plays it on real processes and in virtual time, and so do the
tests.

A story may have nodes in reserve that can join (`spare`), and `settings` of its own. What not every world or system can
do (clocks that drift, links that lose messages, files that are damaged) it `needs`, by the names of
`bench.cluster.NEEDS`. Where a cluster cannot do that, the scenario is SKIPPED with the cluster's reason.

* `elections`, `partitions`, `crashes`, `clocks`: what fails, alone and together.
* `membership`: who belongs, and who leads by request.
* `snapshots`: what stands for the log.
* `consistency`, `batches`: what clients may see.
* `random_faults`: what nobody has thought of.

A family (`split_brain`) is one function with every combination of its parameters. A member is named
``split_brain[leader_alone-both_ways-hold]``; the family's own name means all its members.

Users write theirs in files of their own (`files`), and import from here all that a story is told with.
"""

from importlib import import_module

from bench.case import Settings
from bench.checkers import (
    CLIENTS,
    ONE_STORY,
    SAFETY,
    acknowledged_writes_survive,
    leadership_is_handed_over,
    linearizable,
    logs_agree,
    nobody_disturbs_a_leader,
    nodes_say_one_thing,
    one_leader_at_a_time,
    one_leader_per_term,
    stale_reads_are_true,
)
from bench.cluster import Client, Cluster, NodeStatus, Workers
from bench.evidence import Evidence
from bench.operations import (
    Cas,
    Delete,
    DeleteAll,
    Freshness,
    Get,
    GetAll,
    Item,
    Join,
    Leave,
    Operation,
    Outcome,
    Put,
    SetAll,
    TakeSnapshot,
    Transfer,
)
from bench.scenarios.asserts import explain_in
from bench.scenarios.registry import Scenario, ScenarioError, UnknownScenarioError, by_name, find, gather, scenario
from bench.scenarios.steps import (
    bring_in,
    carry_on_without,
    come_back,
    decide,
    followers,
    hand_over,
    let_go,
    members,
    put,
    read_back,
    read_newest,
    undisturbed,
    write,
    write_more,
)
from bench.verdict import Finding, Verdict
from bench.workload import Script, distinct_writes, retrying
from faults.links import CLIENT, Link, Mode, peer_links

MODULES = (
    "elections",
    "partitions",
    "crashes",
    "clocks",
    "membership",
    "snapshots",
    "consistency",
    "batches",
    "random_faults",
)

explain_in(__name__)
SCENARIOS = by_name(member for name in MODULES for member in gather(import_module(f"{__name__}.{name}")).values())
"""The bench's own."""

__all__ = [
    "CLIENT",
    "CLIENTS",
    "ONE_STORY",
    "SAFETY",
    "SCENARIOS",
    "Cas",
    "Client",
    "Cluster",
    "Delete",
    "DeleteAll",
    "Evidence",
    "Finding",
    "Freshness",
    "Get",
    "GetAll",
    "Item",
    "Join",
    "Leave",
    "Link",
    "Mode",
    "NodeStatus",
    "Operation",
    "Outcome",
    "Put",
    "Scenario",
    "ScenarioError",
    "Script",
    "SetAll",
    "Settings",
    "TakeSnapshot",
    "Transfer",
    "UnknownScenarioError",
    "Verdict",
    "Workers",
    "acknowledged_writes_survive",
    "bring_in",
    "carry_on_without",
    "come_back",
    "decide",
    "distinct_writes",
    "find",
    "followers",
    "hand_over",
    "leadership_is_handed_over",
    "let_go",
    "linearizable",
    "logs_agree",
    "members",
    "nobody_disturbs_a_leader",
    "nodes_say_one_thing",
    "one_leader_at_a_time",
    "one_leader_per_term",
    "peer_links",
    "put",
    "read_back",
    "read_newest",
    "retrying",
    "scenario",
    "stale_reads_are_true",
    "undisturbed",
    "write",
    "write_more",
]
