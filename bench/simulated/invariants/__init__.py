"""What must hold after every event, checked while the world runs: Raft's promises, and the clients'.

The idea
--------
`Invariants` watches (`bench.simulated.observer`): it is told of every round of every server, of every save, every
command that is performed and every answer that a client gets. A `Ledger` remembers what the whole history has shown,
crashes and all. Each invariant is one small function with its source, called with the ledger and with what just
happened; the invariant's name is the function's, and its words are what was seen.

The rules
---------
1. *Whoever judges does not write.* An invariant reads the ledger and raises or returns; a unit test reads the files to
   see that. What is remembered is written by the `note_...` functions of `ledger`, and by nothing else.
2. *Judged first, noted after.* An event is held against what was known before it. The table `watch.ON_STEP` has the
   order for a server's round; where one invariant needs what is noted of the same round, the table says why.
3. *A round is judged when its owner may act on it*: once it is durable, or at once when it had nothing to save. Before
   that nobody has heard of it, and a crash undoes it: a server that voted, crashed before the save, and votes for
   another after its restart has broken nothing.
4. *The work for one event does not grow with the history.* Log matching, for one, is kept by remembering what stands
   before each (index, term) the first time it is seen.
5. *Liveness is asked for only when it is owed*: of a majority that hears one another, and with every fault over.

The way through
---------------
What is noted: `ledger`, and in it `touch`, who hears whom. What is judged, a file a subject: `elections`, `logs`,
`commits`, `membership`, `clients`, `operators`, `status`, `liveness`; each tells of a broken promise by `violation`.
Who has the one done and then the other: `watch`.
"""

from bench.simulated.invariants.ledger import Ledger
from bench.simulated.invariants.liveness import questions_are_answered_in_the_end
from bench.simulated.invariants.status import status_is_true_in_the_end, traces_tell_of_one_leader
from bench.simulated.invariants.watch import Invariants

__all__ = [
    "Invariants",
    "Ledger",
    "questions_are_answered_in_the_end",
    "status_is_true_in_the_end",
    "traces_tell_of_one_leader",
]
