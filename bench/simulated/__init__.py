"""A cluster in virtual time: the same server, the same scenarios, one thread and one seed.

The idea
--------
`node.server` knows no clock, thread, socket or file, so a world can be built around it in which all of these are
numbers. A heap holds what is to happen (a message arrives, a save is synced, a timer rings, a client gives up); the
time is that of the event last taken from it. A second of virtual time costs some milliseconds, and a run that went
wrong can be repeated, to the byte, from its seed.

The promise
-----------
The same seed and version give the same events, on any machine and any interpreter from 3.11 on. So nothing here reads
the machine's clock, and no order comes from a set or a hash. Every part draws from a random generator of its own,
derived from the seed and a name, so a part that draws more does not shift the others. Random numbers become times by
sums and products alone, never by a logarithm, whose last bit depends on the machine's library. `Chronicle.digest`
covers every message delivered, every transition and every answer; the tests compare it.

What is real, and what is a model
---------------------------------
* Real: the whole server (the core, pending questions, changes under way, hand-over, snapshots, its status and its
  trace), the state machine, scenarios, checkers, the workload.
* `process` does for a server what `node.driver` does, in virtual time: what arrives during a save waits, and a crash
  can come between the save and the first message. It has no rule of Raft or of the server; it decides only when things
  happen. `disk` promises what `node.disk` promises, and can break it.
* `network` has the live network's faults under the same names, and loss, duplication and reordering besides, which no
  TCP proxy can make. `clock` gives each node a reading and a rate of its own.
* `requests` and `surface` are HTTP without the text and the sockets. What a request asks, and what a reply says, is the
  node's own code (`node.web.endpoints`); what the client makes of it is the live client's (`bench.systems`).
* Not here: the thread around the server, the wire format, sockets, sqlite. Mistakes there are for the unit suite and
  the live world to find.

The way through
---------------
`engine` and `clock` -> `network` and `disk` -> `process` (which gets these as arguments, and knows no world) -> `stage`
(what all nodes share) -> `node` -> `world` -> `cluster` (a `bench.cluster.Cluster`) and `clients`. `observer` is told
of every step: `chronicle` remembers it, `words` puts it in words, and `invariants` says which promise was broken.
"""
