"""Processes that hold no data: the v2 proxy and the TCP gateway. They stand before a cluster."""
