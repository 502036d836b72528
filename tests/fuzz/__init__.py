"""Bytes from strangers at every parser: see ``targets`` for what is tried and what may be raised."""
