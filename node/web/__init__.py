"""The two HTTP surfaces of a node: what clients and operators ask, and what peers send.

`serving` is the server under both, with a thread for each connection. `http` is what they share: JSON in and out, and
errors as JSON. `hosts` says whose requests are answered at all. `peer_api` is the Raft port, `client_api` is Konsul's
surface. Neither decides anything: each decodes a question, hands it to `node.driver`, and writes down the reply.

What decides the replies of Konsul's surface is pure, and the bench explores it in virtual time. `endpoints` has what
each endpoint asks of the server and how it tells the answer, `bodies` what may be posted to it, `replies` what is told
in place of an answer and where a client is sent, `descriptions` what a node says of itself.
"""
