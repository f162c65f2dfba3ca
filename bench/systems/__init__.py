"""What can be put on the bench: for each system, how a node of it is started and what it says of itself.

A system is known as a command and an HTTP surface, never by its code. `konsul` is our own node.
"""
