"""`bench.cluster.Cluster` as real processes on this machine.

Each node is a process of its own behind its own links: N*(N-1) directed links between nodes and one from clients to
each node, all proxies of one Toxiproxy that belongs to the cluster. What people are shown is the client links'
addresses, so that a cut of ``client n1`` is felt by the person's own curl; the bench itself asks nodes for their status
at their real ports, behind the faults' back.

* `ports`: the first free ones, held for the cluster's life.
* `launch`: a node through the preloaded forkserver, and its log into the one stream.
* `cluster`: `LiveCluster`, what scenarios and commands drive.
* `workers`: clients in the background; `traffic`: how much the nodes tried to send.
* `folders`, `waiting`, `early`: where files go, waiting with a deadline, the forkserver.
* `control`, `remote`, `registry`: a running bench, spoken to from another terminal.
"""
