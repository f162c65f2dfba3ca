"""What the log does to a server: a key-value store and its snapshots. Pure: the same entries give the same state, the
same answers and the same bytes, in every world and on every server.

`kv` is the store: commands, what comes of them, and how a write that is asked for twice takes effect once.
`state_machine` applies entries to it, chains them into a digest by which two servers can be compared, and turns the
state into lines of a snapshot and back. Nothing here knows of terms, votes or peers; whoever applies an entry has
been told that it is committed.
"""
