"""The scenarios: what Raft promises, each told as a story that must come out right.

A scenario is a plain function of a `Cluster` with the promise as its docstring, registered by `@scenario` with the
number of nodes it needs and the checks its evidence goes through. An assertion in it that fails, a wait that runs out
and a check that contradicts it all make the run INVALID. The same functions are run by ``python -m bench run``, by
``pytest tests/integration`` and, because they name no process and no clock, by any other world that has a `Cluster`.

What a story needs beyond so many members is in its `Setup`: nodes in reserve that may join, snapshots more often. What
one world alone can do (clocks that drift, links that lose messages; files that are damaged) is in `VirtualCluster` and
`FiledCluster`, and the story says of the other why it is `impossible` there: it is then skipped with that reason.

* `elections`, `partitions`, `crashes`, `clocks`: what fails, alone and together.
* `membership`: who belongs, and who leads by request.
* `snapshots`: what stands for the log.
* `consistency`, `batches`: what clients may see.

A family (`split_brain`) is one function with every combination of its parameters; a member is named
``split_brain[leader_alone-both_ways-hold]``, and the family's own name means all of them.
"""

from bench.scenarios import batches, clocks, consistency, crashes, elections, membership, partitions, snapshots
from bench.scenarios.registry import SCENARIOS, Scenario, UnknownScenarioError, find, scenario

__all__ = [
    "SCENARIOS",
    "Scenario",
    "UnknownScenarioError",
    "batches",
    "clocks",
    "consistency",
    "crashes",
    "elections",
    "find",
    "membership",
    "partitions",
    "scenario",
    "snapshots",
]
