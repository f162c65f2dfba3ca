"""What can be done to a cluster of processes on one machine, knowing nothing of what they agree on.

The idea
--------
A directed link, what A sends to B, is one Toxiproxy listener. A node that means B dials the listener of A->B, and what
it writes there comes out at B. Because a link is one proxy, whatever is done to it is done to that direction alone, and
what is in force can be read back from the server.

What each fault does to TCP, and what it cannot do
--------------------------------------------------
* *Blackhole* (`timeout` toxic, 0): bytes are taken in and dropped. The sender sees a healthy connection. The end of a
  connection still gets through: a node that dies behind a blackhole is noticed. Healing closes the connections, because
  a stream that has lost bytes in the middle can carry nothing more.
* *Refuse* (proxy disabled): connections are closed at once, new ones are refused.
* *Hold* (`bandwidth` toxic, rate 0): bytes wait, and arrive when healed, late and intact: stale requests. A toxic
  changed behind it would make it let go of some, so it is followed by one that does nothing.
* *Delay*: each chunk is late by so much, and none overtakes another. *Limit*: so many KiB a second.
* A link cut in one direction loses the requests of that direction and the answers on the same connections. A system
  whose replies are messages of their own, on the other link, keeps those.
* Loss, duplication and reordering of single messages are not to be had from a TCP proxy. `toxicity` looks like loss,
  but is rolled once for a connection, and a toxic changed in place corrupts the stream; neither is used.
* A dead node behind a proxy looks like a connection that is accepted and closed, never like one refused.

What overlapping faults come to
-------------------------------
Each fault ends alone: a `with` block's with the block, a command's when it is healed or the next command of its kind
takes its place. What is in force on a link is the sum of those that last, as if one stood behind the other on it:

* Of several cuts the strictest: refuse before blackhole before hold. What was held is lost when a stricter one comes.
* Latencies add, and so do jitters. Of limits the narrowest. Of noises (in virtual time) each by itself.
* `heal` ends all that is on a link, or all of one kind, whoever began it; the block that put it there ends in silence.

On nodes it is the same, in virtual time: a disk is as slow as all that slows it down, a node runs when nothing keeps it
from running, and a clock, which has but one rate, runs at the newest.

The rules
---------
A cut's shape (`cuts`: pure sets of links) and what it does (`network`) are two things. Every fault has a `with` that
ends it on any way out. Whatever may hang has a deadline, and a server that has hung is replaced, with all that is
wanted of it (`network`). Children die with the bench, by kill -9 too, paused or not (`lifeline`).

The way through
---------------
`links` -> `cuts` -> `schedule` (who suffers what and when, as a value) -> `lasting` (what overlaps) -> `acquire`
(getting the server) -> `processes` and `lifeline` -> `toxiproxy` -> `network`. `foreign` guards what is used of other
people's insides.
"""
