"""Pure scheduling of a unit: remote and local state in, next operation out.

Invariant: nothing in this package imports time, random, os, socket, subprocess or threading.
"""

from localjuju.resolver.chain import next_operation
from localjuju.resolver.commit import committed

__all__ = ["committed", "next_operation"]
