"""`bench.cluster.Cluster` as real processes on this machine.

Each node is a process of its own behind its own links: N*(N-1) directed links between nodes and one from clients to
each node, all proxies of one Toxiproxy that belongs to the cluster. People are given the addresses of the client links,
so that a cut of ``client n1`` affects their own curl too. The bench itself asks nodes for their status at their real
ports, where no fault is in the way.

* `cluster`: `LiveCluster`, what scenarios, cases and commands drive.
* `ports`: the first free ones, held for the cluster's life. `limits`: disks and memories that are full for one process.
* `clients`, `workers`: who asks the nodes, in the foreground and in the background.
* `log`: what all nodes log, in one stream. `traffic`: how much went over each link. `bypasses`: what went past one.
  `waiting`: with a deadline.
* `control`, `remote`, `registry`: a running bench, spoken to from another terminal; `serving` brings them together.

A node is known by `bench.systems.protocol` alone: nothing here names a system or speaks its language.
"""
