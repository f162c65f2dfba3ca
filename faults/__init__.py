"""What can be done to a cluster of processes on one machine, without knowing what they agree on.

The idea
--------
A directed link, what A sends to B, is one Toxiproxy listener. To reach B, A dials the listener of A->B, and what A
writes there comes out at B. Because a link is one proxy, a fault on it concerns that direction alone, and what is in
force can be read back from the server.

What each fault does to TCP, and what it cannot do
--------------------------------------------------
* *Blackhole* (`timeout` toxic, 0): bytes are taken in and dropped. The sender sees a healthy connection. The end of a
  connection still gets through: a node that dies behind a blackhole is noticed. Healing closes the connections, because
  a stream that has lost bytes in the middle can carry nothing more.
* *Refuse* (proxy disabled): connections are closed at once, new ones are refused.
* *Hold* (`bandwidth` toxic, rate 0): bytes wait, and arrive after healing, late and intact, as stale requests. Adding
  or removing a toxic right behind it would release some of them, so a toxic that does nothing always stands there.
* *Delay*: each chunk is late by the given time, and none overtakes another. *Limit*: so many KiB a second.
* A cut in one direction loses the requests of that direction and the answers on the same connections. A system whose
  replies are messages of their own, on the other link, keeps its replies.
* A TCP proxy cannot lose, duplicate or reorder single messages. `toxicity` looks like loss but is drawn once for each
  connection, and a toxic changed in place corrupts the stream. Neither is used.
* A dead node behind a proxy looks like a connection that is accepted and closed, never like a refused one.

What overlapping faults come to
-------------------------------
Each fault ends by itself. The fault of a `with` block ends with the block. The fault of a command ends when it is
healed or when the next command of its kind replaces it. What is in force on a link is the sum of the faults that last,
as if one stood behind the other on the link:

* Of several cuts the strictest counts: refuse before blackhole before hold. Held bytes are lost when a stricter cut
  comes.
* Latencies add, and so do jitters. Of several limits the narrowest counts. Each noise (in virtual time) acts by itself.
* `heal` ends every fault on a link, or all of one kind, whoever began them. The end of their `with` blocks then does
  nothing.

Faults on nodes add up in the same way: a node runs when nothing keeps it from running. In virtual time, what slows a
disk down adds up too, and a clock, which has only one rate, runs at the newest.

The rules
---------
The shape of a cut (`cuts`: pure sets of links) is separate from what the cut does (`network`). Every fault has a `with`
block, and leaving it in any way ends the fault. Whatever may hang has a deadline, and a server that has hung is
replaced, with all the faults that last (`network`). Children die with the bench, even by kill -9, paused or not
(`lifeline`).

The way through
---------------
`links` -> `cuts` -> `lasting` (what overlaps) and `stillness` (what outlasts an error) -> `nodes` (faults on nodes) ->
`acquire` (getting the server) -> `processes` and `lifeline` -> `toxiproxy` -> `network`. `foreign` guards the use of
other projects' internals.
"""
