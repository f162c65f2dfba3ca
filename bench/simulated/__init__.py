"""A cluster in virtual time: the same server, the same scenarios, one thread and one seed.

The idea
--------
`node.server` knows no clock, thread, socket or file, so a world can be built around it in which all are numbers.
A heap holds what is to happen (a message arrives, a save is synced, a timer rings, a client gives up); time is the
time of the event that was taken from it last. A second of it costs some milliseconds, and a run that went wrong is had
again, to the byte, from its seed.

The promise
-----------
Same seed, same version: the same events, on any machine and interpreter from 3.11 on. So nothing here reads a clock of
the machine's, and no order comes from a set or a hash; every part draws from a generator of its own, named and derived
from the seed, so that one that draws more does not shift the others; and chance becomes a time by sums and products
alone, never by a logarithm, whose last bit belongs to the machine's library. `Chronicle.digest` is over every message
delivered, every transition and every answer; the tests compare it.

What is real, and what is a model
---------------------------------
* Real: the whole server (the core, who waits for what, changes under way, hand-over, snapshots, what it says of itself
  and writes in its trace), the state machine, scenarios, checkers, the workload.
* `process` is to a server what `node.driver` is, with time passing in it: what arrives during a save waits, and a crash
  fits between the save and the first message. It has no rule of Raft's or the server's; it says when things happen.
  `disk` promises what `node.disk` promises, and can break it.
* `network` has the live network's faults under the same names, and loss, duplication and reordering besides, which no
  TCP proxy can do. `clock` gives each node a reading and a rate of its own.
* `requests` is the client's HTTP surface without the HTTP: the same questions, outcomes and reasons.
* Not here: the thread around the server, the wire format, sockets, sqlite. Their mistakes are for the unit suite and
  the live world to find.

The way through
---------------
`engine` and `clock` -> `network` and `disk` -> `process` (which gets these as arguments, and knows no world) -> `stage`
(what all nodes share) -> `node` -> `world` -> `cluster` (a `bench.cluster.Cluster`) and `clients`. `observer` is told
of every step: `chronicle` remembers it, `words` tells it, and `invariants` says which promise was broken. `rest` judges
what can be judged once nothing is owed any more.
"""
