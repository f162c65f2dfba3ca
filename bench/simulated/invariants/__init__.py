"""What must hold after every event, checked while the world runs: Raft's promises, and those made to clients.

The idea
--------
`Invariants` is an observer (`bench.simulated.observer`): it is told of every round of every server, of every save,
every command that is performed and every answer that a client gets. A `Ledger` remembers what the whole history has
shown, across crashes. Each invariant is one small function with its source, called with the ledger and with what just
happened; the function's name is the invariant's, and its message says what was seen.

The rules
---------
1. *Judging never writes.* An invariant reads the ledger and raises or returns; a unit test checks this in the source.
   Only the `note_...` functions of `ledger` write what is remembered.
2. *Judged first, noted after.* An event is judged by what was known before it. The table `watch.ON_STEP` has the order
   for a server's round; where one invariant needs what is noted of the same round, the table says why.
3. *A round is judged when its owner may act on it*: once it is durable, or at once when it had nothing to save. Before
   that nobody has heard of it, and a crash undoes it: a server that voted, crashed before the save, and votes for
   another after its restart has broken nothing.
4. *The work for one event does not grow with the history.* Log Matching, for one, is checked by remembering what stands
   before each (index, term) when that is first seen.
5. *Liveness is demanded only when it is owed*: amid faults of a majority whose members hear one another, and of a
   leader and a follower that do; and of all once every fault is over.

The way through
---------------
`ledger` is what is noted; in it `touch` says which servers hear one another, and `progress` for how long, and what each
leader had then. What is judged has a file for each subject: `elections`, `logs`, `commits`, `membership`, `clients`
(what servers answer), `replies` (what clients read), `operators`, `status`, `liveness`; each reports a broken promise
through `violation`. `watch` has each event judged and then noted, and `rest` the world at its end.
"""

from bench.simulated.invariants.ledger import Ledger
from bench.simulated.invariants.watch import Invariants

__all__ = ["Invariants", "Ledger"]
