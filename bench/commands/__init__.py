"""The commands by what they are for: `up` (starting), `watching`, `asking` (as a client), `operating` (as an operator),
`breaking`, `running` (scenarios) and `keeping` (the cluster of one that went wrong), `playing` (cases), `exploring`,
`measuring`, `storing` (what is kept) and `histories` (of others), `doctor`, `completion` (for shells), `version`.

Each command is a small function on top of `bench.live`, `bench.runner` or `bench.store`. A user's mistake ends in one
line and exit status 2 (`failing`). Tables and colours are rich's, and are plain text in a pipe (`showing`). What
programs are told is in `reporting`, what help lists in `helping`, what a watcher is told in `changes`. `getting` shows
how far the getting of toxiproxy-server is.
"""
