"""What a person or a test drives: clusters, faults, scenarios, cases, and the verdicts on their runs.

The vocabulary
--------------
* A *cluster* (`bench.cluster.Cluster`) has nodes by name, waits that name their condition, faults that undo themselves,
  and clients whose every call is recorded. It is the same in both worlds; `can` says what it cannot do, and why.
* An *operation* (`bench.operations`) is one question of one client, or all the tries of one write, and what the client
  was told: OK, FAILED (it did not happen) or UNKNOWN (it may have, or may yet). A timeout is UNKNOWN.
* A *history* (`bench.history`) is operations as they happened: an event when one is asked, another when it is answered.
* A *fault* (`bench.schedule`) is a value: what is done, and over which interval. A *case* (`bench.case`) is a schedule
  of faults and all else that a run depends on, in one file. `bench.player` plays it on any cluster.
* A *scenario* (`bench.scenarios`) is a plain function of a cluster, with its promise as its docstring.
* *Evidence* (`bench.evidence`) is what a run leaves behind: the history, every node's trace, the bench's own timeline,
  all on one clock, which is 0 when the run begins. `bench.store` keeps it, and trusts nothing that was changed since.
* A *checker* (`bench.checkers`) is a pure function from evidence to a finding; a *verdict* (`bench.verdict`) is VALID,
  INVALID or UNKNOWN, and the exit status 0, 1 or 2. What a world cannot play is SKIPPED, with 0.

The way of a run
----------------
`runner` has all of it on a page: open a cluster, play, collect, check, store. `worlds` names the two kinds of cluster:
`live/`, of real processes, and `simulated/`, in virtual time. `systems/` says how a system is put on the bench, and
nothing else knows any one system. `telling` says in words what came of a run, with `timeline` (what happened, and what
was in force when), `words` and `mistakes` (of a story's author); `picture` shows the links of a running cluster.
`search/` makes up cases and plays them by the thousand. `measure/` times the live cluster. `cli` and `commands/` are
the command line. Only `simulated/` imports the node, and only the pure part of it: everywhere else the node is known as
a command line.
"""
