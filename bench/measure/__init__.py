"""How fast the live cluster is: each measurement is a small function on real nodes behind the real Toxiproxy. One more
tells how fast the bench judges what clients were told, and needs neither.

A measurement says in its docstring what is measured between which two instants; all instants are readings of this
process's monotonic clock. It returns what was `Measured`: series of values with their count, median, 99th percentile
and worst, because an average hides exactly what wakes an operator up. Nothing is asserted: figures depend on the
machine and on its other load, so they are printed beside what we aim for, and compared by people.

`statistics` and `result` are values; `load` is the generator of requests; `setting` gives a measurement its cluster;
`requests`, `outages`, `lifetimes` and `judging` hold the measurements, `registry` finds them by name, and `histories`
makes what is judged.
"""
