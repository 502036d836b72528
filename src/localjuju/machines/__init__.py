"""Machines: systemd-nspawn containers on overlays of the host's own system.

All that a machine makes outside its directory dies with its supervisor process: mounts are in a
private mount namespace, the interface is in a private network namespace. Only the control
groups (prefix ``ljj``) have to be removed by hand.
"""
