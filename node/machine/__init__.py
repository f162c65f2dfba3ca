"""What the log does to a server: a key-value store and its snapshots. Pure: the same entries give the same state, the
same answers and the same bytes, in every world and on every server.

`kv` is the store: commands, their results, and how a write that is sent twice takes effect once. `state_machine`
applies entries to the store, chains them into a digest by which two servers can be compared, and turns the state into
lines of a snapshot and back. Nothing here knows of leaders, votes or peers; the caller knows that each entry it applies
is committed.
"""
