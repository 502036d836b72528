"""The sans-IO Raft core. It knows terms, logs, votes and quorums, and nothing of commands,
clients, files, sockets or clocks. ``raftkv.replica`` wraps it into a replicated state machine.
"""
