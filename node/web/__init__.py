"""The two HTTP surfaces of a node: what clients and operators ask, and what peers send.

`serving` is the server under both, with a thread for each connection. `http` is what they share: JSON in and out, and
errors as JSON. `hosts` says whose requests are answered at all. `client_api` is Konsul's surface, and `bodies` is what
may be posted to it. `peer_api` is the Raft port. Neither surface decides anything: each decodes a question, hands it to
`node.driver`, and reports the answer.
"""
