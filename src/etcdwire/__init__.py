"""Bytes to values and back for every protocol that etcd's clients speak. Pure: no I/O, no clock."""
