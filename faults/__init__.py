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
* *Hold* (`bandwidth` toxic, rate 0): bytes wait, and arrive when healed, late and intact: stale requests.
* *Delay*: each chunk is late by so much, and none overtakes another. *Limit*: so many KiB a second.
* A link cut in one direction loses the requests of that direction and the answers on the same connections. A system
  whose replies are messages of their own, on the other link, keeps those.
* Loss, duplication and reordering of single messages are not to be had from a TCP proxy. `toxicity` looks like loss,
  but is rolled once for a connection, and a toxic changed in place corrupts the stream; neither is used.
* A dead node behind a proxy looks like a connection that is accepted and closed, never like one refused.

The rules
---------
A cut's shape (`cuts`: pure sets of links) and what it does (`network`) are two things. Every fault has a `with` that
heals on any way out. Whatever may hang has a deadline, and a server that has hung is replaced, with all that is wanted
of it (`network`). Children die with the bench, by kill -9 too, paused or not (`lifeline`).

The way through
---------------
`links` -> `cuts` -> `schedule` (who suffers what and when, as a value) -> `acquire` (getting the server) ->
`processes` and `lifeline` -> `toxiproxy` -> `network`. `foreign` guards what is used of other people's insides.
"""
