r"""One Raft server process that speaks Konsul's configuration, endpoints and metrics: ``python -m node``.

The idea
--------
`node.server` is the whole server as a value: told what has arrived, it says what to save, and once that is saved, what
follows. It holds the algorithm (`node.raft`), the key-value store (`node.machine`), and everything that a server owes
its clients and operators: who waits for what, changes that take several rounds, hand-over, snapshots. The bench
explores this same code in virtual time. In a real process one thread (`node.driver`) owns the server. Everything with a
socket or a file surrounds that thread and talks to it through an inbox:

    peers --> web.peer_api ---\                     /--> disk       (sqlite3, one fsync a round; snapshots)
                               >--> driver: server -+---> transport --> peers
    people -> web.client_api -/        |             \--> trace     (one JSON line a change)
                                       \--> Status, a frozen value that the HTTP threads read

The driver works in rounds, and safety rests on their order:

1. take everything that waits in the inbox and step the server with all of it;
2. save once: hard state and entries in one transaction, one fsync for the batch;
3. tell the server that it is saved; the server applies what is committed and says what follows. Only now is there
   anything to send, because a message is a promise. A vote that is forgotten in a crash can be given twice, and what
   was committed on the strength of an acknowledged entry is lost with that entry;
4. write the trace, publish the new `Status`, send, and only then answer the clients;
5. sleep until something is in the inbox or the server's deadline comes.

One thing goes on beside the rounds: a snapshot is encoded, written and synced by a thread of its own, from a copy of
the state that costs a round a few milliseconds.

The rules
---------
* A failed save ends the process. After a failed fsync the kernel may have dropped the pages and may call the next fsync
  a success, so there is nothing to retry.
* A node says that it leads only while its lease holds. Every answer checks the lease against the clock at that instant
  (`Status.is_leader_at`), because a process that was stopped may answer before its driver has run.
* Raft messages and client requests have ports and threads of their own: a hundred writes waiting for a majority must
  not block the votes that would give them one.
* A client is told one of three things: done, definitely not done, or not known. See `node.web.replies`.
* A node does not start over damaged data. A data folder that is truncated, foreign or in use is refused by name. Only a
  damaged snapshot is tolerated: the one before stands in for it, and the log keeps every entry since that one.
* Every decoder is made before there are threads (`node.wire` says why).

The way through
---------------
`__main__` wires up what `config` has read. `server` is the server. It uses `questions` (what it is asked and what an
answer means), `pending` (who waits for what), `changes` (what takes several rounds), `snapshots` (when one is due),
`status` and `records` (what it says of itself, to people and in its trace). All of these are pure. Around the server
are `driver` (its thread), `disk` (what is durable), `web` (the two HTTP surfaces, with `metrics` and `meters`), `wire`
(what travels between nodes), `transport` (how it travels) and `identity` (who is at an address). What decides an HTTP
reply is pure too: `web.endpoints`, `web.replies` and `web.descriptions`. This package imports neither `bench` nor
`faults`. The bench knows it as a command line, like any other system; only the simulated world imports `server`,
`raft`, `machine`, `flaws` and what decides a reply.
"""
