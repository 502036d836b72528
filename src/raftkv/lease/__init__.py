"""Leases: what is granted (replicated), and when it ends (the leader's clock). Pure."""
