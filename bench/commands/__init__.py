"""The commands, by what they are for: `up` (starting), `watching`, `breaking`, `operating`, `running` (scenarios),
`playing` (cases), `exploring`, `measuring`, `storing` (what is kept), `doctor`, `completion` (for shells).

Each command is a small function on top of `bench.live`, `bench.runner` or `bench.store`. A user's mistake ends in one
line and exit status 2 (`failing`). Tables and colours are rich's, and are plain text in a pipe (`showing`). What
programs are told is in `reporting`, what help lists in `helping`.
"""
