"""The `etcd` charm without its wiring: facts in, decisions out, effects at the edge.

Three rooms. `reconcile` knows Juju and turns hooks into facts. `cluster` is pure: it decides, and
knows neither Juju nor this machine. `workload` has the effects on this machine and on the cluster.
"""
