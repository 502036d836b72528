"""Raft plus a state machine: proposals, reads, membership, duplicates. ``step.Replica`` is the
door; ``inputs`` and ``effects`` are its vocabulary. No clock, no chance, no I/O.
"""
