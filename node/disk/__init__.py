"""What is durable, and from when on.

`storage` keeps term, vote and log in one sqlite3 file. A save is one transaction and one fsync, and once it returns the
node may promise what was saved. `snapshot_files` keeps snapshots beside that file, each complete or not there. Both
refuse, by name, what they did not write: a node that starts over damaged data may vote twice. After an error it is not
known what is on the disk, so the caller must stop; no call is repeated.
"""
