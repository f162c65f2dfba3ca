"""What a person or a test drives: clusters, faults, scenarios, and verdicts on what came of them.

The vocabulary
--------------
* A *cluster* (`bench.cluster.Cluster`) is what a scenario is told against: nodes by name, waits that name their
  condition, faults that heal themselves, clients whose every call is recorded.
* An *operation* (`bench.history`) is one call of one client, or all the tries of one write, with what it was told: OK,
  FAILED (it did not happen) or UNKNOWN (it may have, or may yet). A timeout is UNKNOWN.
* A *scenario* (`bench.scenarios`) is a plain function with its promise as docstring. A broken assertion or a wait that
  runs out makes its run INVALID.
* *Evidence* (`bench.evidence`) is what a run leaves behind: the history, every node's trace, the bench's own timeline,
  all on the machine's one monotonic clock.
* A *checker* (`bench.checkers`) is a pure function from evidence to a finding; a *verdict* (`bench.verdict`) is VALID,
  INVALID or UNKNOWN, and the exit status 0, 1 or 2. What a world cannot play is SKIPPED, with 0.

The map
-------
`live/` makes a cluster of real processes, `simulated/` one in virtual time; `worlds` names the two for `runner`, which
plays one scenario, on a page. `workload` is what clients do in either. `systems/` says how a system is put on the
bench; `measure/` times the live cluster; `cli` and `commands/` are what is typed. Only `simulated/` imports the node,
and of it only what is pure: elsewhere it is known as a command line.
"""
