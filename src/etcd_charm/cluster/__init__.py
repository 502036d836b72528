"""Pure decisions about one unit's part in the cluster.

Nothing here reads a clock, a file, a socket or a random number, and nothing imports another room:
facts come in as frozen values, a `Plan` goes out. That is what lets the simulation run the same
code under thousands of event orders.
"""
